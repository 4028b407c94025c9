"""Files ↔ tensors: reading, orientation, alpha, writing, and the LR file with its metadata."""

from hcd.image.encode import LOSSLESS_SUFFIXES, encode, read_comment
from hcd.image.lrfile import LRInfo, encode_lr, read_lr
from hcd.image.picture import Picture, downscale_alpha, upscale_alpha
from hcd.image.read import SUFFIXES, open_image, read_picture, to_picture

__all__ = [
    "LOSSLESS_SUFFIXES",
    "SUFFIXES",
    "LRInfo",
    "Picture",
    "downscale_alpha",
    "encode",
    "encode_lr",
    "open_image",
    "read_comment",
    "read_lr",
    "read_picture",
    "to_picture",
    "upscale_alpha",
]
