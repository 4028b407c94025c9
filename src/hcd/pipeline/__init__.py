"""The sender and the receiver: pictures to LR files, and LR files back to pictures."""

import lazy_loader

# The receiver has to do without the sender's method: names are imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
