"""The way of one picture: picture → LR picture with its information → file, and back with the model that it names."""

from hcd.pipeline.receiver import Receiver, upscale_picture
from hcd.pipeline.sender import Downscaled, Encoded, downscale_picture, encode_downscaled

__all__ = ["Downscaled", "Encoded", "Receiver", "downscale_picture", "encode_downscaled", "upscale_picture"]
