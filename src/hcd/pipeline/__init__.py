"""Sender and receiver: pictures to LR files, and LR files to pictures."""

import lazy_loader

# Names are imported on first use, so that a receiver never loads the sender's method.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
