"""What the method minimizes: the error of the restored picture, inside the original's frame."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hcd.ops import quantize
from hcd.rescaler import Rescaler, TiledRescaler
from hcd.tiling import Tile


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Mean squared error over RGB between ``hr`` and its reconstruction from an LR picture.

    Args:
        hr: the original, ``[1, 3, H, W]`` in [0, 1].
        model: the rescaler whose ``upscale`` the receiver runs.
        sign: +1 to minimize the error, −1 to maximize it.
        on_tile: called for every tile of a tiled model with its number, from 1 on, and the number of all; what it
            raises ends the evaluation.

    Source: Xu et al., ICCV 2023 (arXiv 2211.10643), equations 3 and 4.
    """

    hr: Tensor
    model: Rescaler
    sign: int = 1
    on_tile: Callable[[int, int], None] | None = None

    def from_lr(self, lr: Tensor) -> Tensor:
        """The objective as a function of the LR picture, as it is given (not rounded here)."""
        return self.sign * self._squares(lr, lambda hr_hat: hr_hat) / self.hr.numel()

    @torch.no_grad()
    def psnr_of_file(self, lr: Tensor) -> float:
        """PSNR over RGB, in dB, of what a receiver restores in 8 bits from an LR file's pixels."""
        mean = float(self._squares(lr, lambda hr_hat: quantize(hr_hat).double())) / self.hr.numel()
        return -10 * math.log10(mean) if mean > 0 else math.inf if mean == 0 else math.nan

    def _squares(self, lr: Tensor, finish: Callable[[Tensor], Tensor]) -> Tensor:
        """The sum of squared errors of the restored picture, finished in some way, inside the original's frame."""

        def of_part(hr_hat: Tensor, hr: Tensor) -> Tensor:
            height, width = hr.shape[-2:]
            return (finish(hr_hat)[..., :height, :width] - hr).square().sum()

        if not isinstance(self.model, TiledRescaler):
            return of_part(self.model.upscale(lr), self.hr)
        scale, tiles = self.model.scale, len(self.model.tiles(*lr.shape[-2:]))
        numbers = itertools.count(1)

        def of_core(hr_hat: Tensor, tile: Tile) -> Tensor:
            if self.on_tile is not None:
                self.on_tile(next(numbers), tiles)
            return of_part(hr_hat, self.hr[(..., *tile.core(scale))])

        return self.model.sum_over_tiles(of_core, lr)

    def psnr(self, value: float) -> float:
        """PSNR over RGB, in dB, that a value of the objective stands for."""
        error = self.sign * value
        return -10 * math.log10(error) if error > 0 else math.inf
