"""Network architectures, pure modules without files; their state_dicts are named as the official ones."""

from hcd.nets.irn import IRN

__all__ = ["IRN"]
