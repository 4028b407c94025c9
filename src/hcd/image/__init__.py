"""Files ↔ tensors: reading, orientation, alpha, writing, and the LR file with its metadata."""

from hcd.image.encode import LOSSLESS_SUFFIXES, encode
from hcd.image.lrfile import LRInfo, decode_lr, encode_lr, read_lr
from hcd.image.picture import Picture, downscale_alpha, upscale_alpha
from hcd.image.read import SUFFIXES, list_pictures, read_picture

__all__ = [
    "LOSSLESS_SUFFIXES",
    "SUFFIXES",
    "LRInfo",
    "Picture",
    "decode_lr",
    "downscale_alpha",
    "encode",
    "encode_lr",
    "list_pictures",
    "read_lr",
    "read_picture",
    "upscale_alpha",
]
