"""The rescaler contract and its implementations."""

from hcd.rescaler.base import Rescaler
from hcd.rescaler.bicubic import BicubicRescaler
from hcd.rescaler.gray import GrayRescaler
from hcd.rescaler.invertible import InvertibleRescaler
from hcd.rescaler.latent import LatentPolicy

__all__ = ["BicubicRescaler", "GrayRescaler", "InvertibleRescaler", "LatentPolicy", "Rescaler"]
