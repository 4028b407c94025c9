"""What the method minimizes: the error of the restored picture, inside the original's frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from hcd.rescaler import Rescaler


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Mean squared error over RGB between ``hr`` and its reconstruction from an LR picture.

    Args:
        hr: the original, ``[1, 3, H, W]`` in [0, 1].
        model: the rescaler whose ``upscale`` the receiver runs.
        sign: +1 to minimize the error, −1 to maximize it.

    Source: Xu et al., ICCV 2023 (arXiv 2211.10643), equations 3 and 4.
    """

    hr: Tensor
    model: Rescaler
    sign: int = 1

    def from_lr(self, lr: Tensor) -> Tensor:
        """The objective as a function of the LR picture, as it is given (not rounded here)."""
        height, width = self.hr.shape[-2:]
        hr_hat = self.model.upscale(lr)[..., :height, :width]
        return self.sign * (hr_hat - self.hr).square().mean()

    def psnr(self, value: float) -> float:
        """PSNR over RGB, in dB, that a value of the objective stands for."""
        error = self.sign * value
        return -10 * math.log10(error) if error > 0 else math.inf
