"""The rescaler contract and its implementations."""

from hcd.rescaler.base import Rescaler
from hcd.rescaler.bicubic import BicubicRescaler
from hcd.rescaler.fixed_kernel import FixedKernelRescaler, SizeRequirement
from hcd.rescaler.grain import GrainRescaler
from hcd.rescaler.gray import GrayRescaler
from hcd.rescaler.hcflow import HCFlowRescaler
from hcd.rescaler.invertible import InvertibleRescaler
from hcd.rescaler.latent import LatentPolicy
from hcd.rescaler.receptive_field import receptive_field_of
from hcd.rescaler.tiled import TiledRescaler

__all__ = [
    "BicubicRescaler",
    "FixedKernelRescaler",
    "GrainRescaler",
    "GrayRescaler",
    "HCFlowRescaler",
    "InvertibleRescaler",
    "LatentPolicy",
    "Rescaler",
    "SizeRequirement",
    "TiledRescaler",
    "receptive_field_of",
]
