"""Convert between files and tensors: reading, writing, codecs, and the LR file with its metadata."""

from hcd.image.codec import CODECS, DEFAULT_QUALITY, Codec
from hcd.image.encode import LOSSLESS_SUFFIXES, check_depth, check_quality, encode, kind_of, losses_of_format
from hcd.image.limits import MAX_PIXELS
from hcd.image.lrfile import LRInfo, decode_lr, encode_lr, lost_profile, read_lr
from hcd.image.picture import Picture, downscale_alpha, levels_of, upscale_alpha
from hcd.image.read import SUFFIXES, list_pictures, read_picture
from hcd.image.transparency import fill_transparent

__all__ = [
    "CODECS",
    "DEFAULT_QUALITY",
    "LOSSLESS_SUFFIXES",
    "MAX_PIXELS",
    "SUFFIXES",
    "Codec",
    "LRInfo",
    "Picture",
    "check_depth",
    "check_quality",
    "decode_lr",
    "downscale_alpha",
    "encode",
    "encode_lr",
    "fill_transparent",
    "kind_of",
    "levels_of",
    "list_pictures",
    "losses_of_format",
    "lost_profile",
    "read_lr",
    "read_picture",
    "upscale_alpha",
]
