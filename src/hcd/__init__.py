"""Hierarchical Collaborative Downscaling: small pictures from which the large ones can be rebuilt.

>>> import hcd
>>> model = hcd.load("irn-x4")
>>> model.scale
4
"""

import lazy_loader

# Names are imported on first use, so that ``import hcd`` and ``hcd --help`` load no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
