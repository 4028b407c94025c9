"""What the method minimizes: the loss of the restored picture, inside the original's frame."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hcd.collab.losses import Loss, SquaredError
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd.tiling import Tile


@dataclass(kw_only=True)
class EvaluationStats:
    """What one evaluation shows beside the objective, added up over the parts of the picture.

    Attributes:
        of_file: read the last three as well.
        squares: squared error over RGB of the restored picture.
        file_squares, file_loss, file_terms: squared error over RGB, loss, and each of its terms, of the restored
            picture in 8 bits.
    """

    of_file: bool = False
    squares: float = 0.0
    file_squares: float = 0.0
    file_loss: float = 0.0
    file_terms: tuple[float, ...] = ()

    @torch.no_grad()
    def read(self, hr_hat: Tensor, hr: Tensor, loss: Loss) -> None:
        """Add a part of the picture."""
        self.squares += float((hr_hat - hr).square().sum())
        if self.of_file:
            file, original = quantize(hr_hat).double(), hr.double()
            self.file_squares += float((file - original).square().sum())
            totals = [float(term.total(file, original)) for _, term in loss.terms]
            before = self.file_terms or (0.0,) * len(totals)
            self.file_terms = tuple(a + b for a, b in zip(before, totals, strict=True))
            self.file_loss = sum(weight * total for (weight, _), total in zip(loss.terms, self.file_terms, strict=True))


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The loss between ``hr`` and its reconstruction from an LR picture, per pixel.

    Args:
        hr: the original, ``[1, 3, H, W]`` in [0, 1].
        model: the rescaler whose ``upscale`` the receiver runs.
        loss: what is minimized.
        sign: +1 to minimize the loss, −1 to maximize it.
        on_tile: called for every tile of a picture that is cut, with its number from 1 on and the number of tiles;
            an exception that it raises ends the evaluation.

    Source: Xu et al., ICCV 2023 (arXiv 2211.10643), equations 3 and 4.
    """

    hr: Tensor
    model: Rescaler
    loss: Loss = SquaredError()  # noqa: RUF009 - frozen
    sign: int = 1
    on_tile: Callable[[int, int], None] | None = None

    def from_lr(self, lr: Tensor, meter: EvaluationStats | None = None) -> Tensor:
        """The objective as a function of the LR picture, as it is given (not rounded here)."""

        def of_part(hr_hat: Tensor, hr: Tensor) -> Tensor:
            if meter is not None:
                meter.read(hr_hat, hr, self.loss)
            return self.loss.total(hr_hat, hr)

        return self.sign * self._over_picture(lr, of_part) / self.pixels

    @torch.no_grad()
    def of_file(self, lr: Tensor) -> EvaluationStats:
        """What a receiver's 8-bit picture, restored from an LR file's pixels, is worth."""
        meter = EvaluationStats(of_file=True)
        self.from_lr(lr, meter)
        return meter

    def psnr(self, squares: float) -> float:
        """PSNR over RGB, in dB, that a sum of squared errors over the picture stands for."""
        mean = squares / self.hr.numel()
        return -10 * math.log10(mean) if mean > 0 else math.inf if mean == 0 else math.nan

    @property
    def pixels(self) -> int:
        """Of the original, which sums over it are divided by."""
        return self.hr.shape[-2] * self.hr.shape[-1]

    @property
    def _frame(self) -> tuple[slice, slice]:
        return slice(self.hr.shape[-2]), slice(self.hr.shape[-1])

    def _over_picture(self, lr: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Sum a function of the restored and the original picture over the tiles, without the padding."""
        scale, tiles = self.model.scale, len(self.model.tiles(*lr.shape[-2:]))
        numbers = itertools.count(1)

        def of_core(hr_hat: Tensor, tile: Tile) -> Tensor:
            if self.on_tile is not None and tiles > 1:
                self.on_tile(next(numbers), tiles)
            hr = self.hr[(..., *tile.core(scale))]
            return function(hr_hat[..., : hr.shape[-2], : hr.shape[-1]], hr)

        return self.model.sum_over(of_core, lr)
