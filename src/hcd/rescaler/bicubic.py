"""The fixed-kernel rescaler that everything is compared with: bicubic both ways."""

from __future__ import annotations

from fractions import Fraction
from typing import final

from torch import Tensor

from hcd.ops import resize_bicubic
from hcd.rescaler.base import Rescaler


@final
class BicubicRescaler(Rescaler):
    """MATLAB-style bicubic down, with antialiasing, and up. It has no weights."""

    def __init__(self, scale: int) -> None:
        super().__init__(name=f"bicubic-x{scale}", scale=scale)

    def _downscale(self, hr: Tensor) -> Tensor:
        return resize_bicubic(hr, Fraction(1, self.scale))

    def _upscale(self, lr: Tensor) -> Tensor:
        return resize_bicubic(lr, self.scale)
