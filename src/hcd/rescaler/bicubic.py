"""Bicubic interpolation in both directions: the baseline."""

from __future__ import annotations

from fractions import Fraction
from typing import final

from torch import Tensor

from hcd.ops import resize_bicubic
from hcd.rescaler.base import Rescaler


@final
class BicubicRescaler(Rescaler):
    """MATLAB-style bicubic: antialiased when downscaling. It has no weights."""

    def __init__(self, scale: int) -> None:
        super().__init__(name=f"bicubic-x{scale}", scale=scale)

    def _downscale(self, hr: Tensor) -> Tensor:
        return resize_bicubic(hr, Fraction(1, self.scale))

    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        return resize_bicubic(lr, self.scale)
