"""Network architectures, pure modules without files; their state_dicts are named as the official ones."""

from hcd.nets.cpu.precision import gradient_precision
from hcd.nets.grain import GRAIN
from hcd.nets.hcflow import HCFlow
from hcd.nets.irn import IRN
from hcd.nets.light import Light, LightShape
from hcd.nets.rlfn import RLFN

__all__ = ["GRAIN", "IRN", "RLFN", "HCFlow", "Light", "LightShape", "gradient_precision"]
