"""The objective: the loss of the restored image against the original, without the padding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hcd.collab.losses import Loss, SquaredError
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd.tiling import Tile


@dataclass(kw_only=True)
class EvaluationStats:
    """Metrics of one evaluation beside its value, accumulated over tiles.

    Attributes:
        levels: also measure the restored image rounded to multiples of ``1/levels``, as the receiver writes it (the
            ``file_*`` fields); None does not.
        squares: squared error over RGB of the restored image.
        file_squares, file_loss, file_terms: squared error over RGB, loss, and each term of the loss, of the rounded
            restored image.
    """

    levels: int | None = None
    squares: float = 0.0
    file_squares: float = 0.0
    file_loss: float = 0.0
    file_terms: tuple[float, ...] = ()

    @torch.no_grad()
    def read(self, hr_hat: Tensor, hr: Tensor, loss: Loss) -> None:
        """Add a part of the image."""
        self.squares += float((hr_hat - hr).square().sum())
        if self.levels is not None:
            file, original = quantize(hr_hat, self.levels).double(), hr.double()
            self.file_squares += float((file - original).square().sum())
            totals = [float(term.total(file, original)) for _, term in loss.terms]
            before = self.file_terms or (0.0,) * len(totals)
            self.file_terms = tuple(a + b for a, b in zip(before, totals, strict=True))
            self.file_loss = sum(weight * total for (weight, _), total in zip(loss.terms, self.file_terms, strict=True))


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The loss per pixel between ``hr`` and its reconstruction from an LR image, plus an optional penalty on the LR.

    Args:
        hr: the original, ``[1, 3, H, W]`` in [0, 1].
        model: the rescaler whose ``upscale`` the receiver runs.
        loss: loss of the restored image.
        sign: +1 to minimize the loss, −1 to maximize it.
        levels: largest integer sample of the image that the receiver writes.
        penalty: LR ``[1, 3, h, w]`` → scalar tensor that is added; None for none.
        on_tile: called for every tile of an image that is cut, with its number from 1 on and the number of tiles;
            an exception that it raises ends the evaluation.

    Source: Xu et al., ICCV 2023 (arXiv 2211.10643), equations 3 and 4.
    """

    hr: Tensor
    model: Rescaler
    loss: Loss = SquaredError()  # noqa: RUF009 - frozen
    sign: int = 1
    levels: int = 255
    penalty: Callable[[Tensor], Tensor] | None = None
    on_tile: Callable[[int, int], None] | None = None

    def from_lr(self, lr: Tensor, stats: EvaluationStats | None = None) -> Tensor:
        """Return the objective of an LR image, which is not rounded here; accumulate ``stats`` if they are given."""

        def of_part(hr_hat: Tensor, hr: Tensor) -> Tensor:
            if stats is not None:
                stats.read(hr_hat, hr, self.loss)
            return self.loss.total(hr_hat, hr)

        value = self.sign * self._over_image(lr, of_part) / self.pixels
        return value if self.penalty is None else value + self.penalty(lr)

    @torch.no_grad()
    def of_file(self, lr: Tensor) -> EvaluationStats:
        """Return the metrics of the image that the receiver restores from a decoded LR; never interrupted."""
        stats = EvaluationStats(levels=self.levels)
        replace(self, penalty=None, on_tile=None).from_lr(lr, stats)
        return stats

    def file_loss(self, lr: Tensor) -> float:
        """Return the loss per pixel of the image that the receiver restores from a decoded LR."""
        return self.of_file(lr).file_loss / self.pixels

    def psnr(self, squares: float) -> float:
        """Return the PSNR over RGB, in dB, of a sum of squared errors over the image."""
        mean = squares / self.hr.numel()
        return -10 * math.log10(mean) if mean > 0 else math.inf if mean == 0 else math.nan

    @property
    def pixels(self) -> int:
        """Number of pixels of the original."""
        return self.hr.shape[-2] * self.hr.shape[-1]

    def _over_image(self, lr: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Sum a function of the restored image and the original over the tiles, without the padding."""
        scale, tiles = self.model.scale, len(self.model.tiles(*lr.shape[-2:]))
        numbers = itertools.count(1)

        def of_core(hr_hat: Tensor, tile: Tile) -> Tensor:
            if self.on_tile is not None and tiles > 1:
                self.on_tile(next(numbers), tiles)
            hr = self.hr[(..., *tile.core(scale))]
            return function(hr_hat[..., : hr.shape[-2], : hr.shape[-1]], hr)

        return self.model.sum_over(of_core, lr)
