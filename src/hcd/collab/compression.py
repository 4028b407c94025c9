"""LR files of lossy codecs: the codec inside the loop, and what its files cost."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.collab.penalties import Penalty
from hcd.collab.rounding import Rounding
from hcd.errors import UsageError
from hcd.image import Codec
from hcd.ops import quantize, straight_through

_BLOCK = 8


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Compression(Rounding):
    """The stored LR picture is what a receiver decodes from a lossy file.

    For JPEG without subsampling, the loop sees a differentiable JPEG whose rounding of a coefficient c, in steps of its
    table, is ``r + 16 (c − r)⁵`` with ``r = round(c)``: nearly the whole number, with a slope only where a small move
    changes it. For the other codecs it sees the decoded picture itself, with the gradient of the identity.

    Args:
        codec: of the file.
        alpha: ``[1, 1, h, w]`` of the LR picture where its file has one; WebP's colors depend on it.

    Source: R. Shin and D. Song, "JPEG-resistant adversarial images", NIPS workshop on machine learning and computer
    security 2017, equation 1.
    Departs: the fifth power instead of the third, which restores better by the decoded file; see
    docs/notes/0007-codec-in-the-loop.md.
    """

    codec: Codec
    alpha: Tensor | None = None

    def stand_in(self, lr: Tensor) -> Tensor:
        if not _is_plain_jpeg(self.codec):
            # An encoder would make a picture of what is no number.
            return straight_through(lr, self.stored) if lr.isfinite().all() else lr
        blocks = _Blocks(lr, self.codec.quality)
        coefficients = blocks.coefficients(lr)
        whole = coefficients.detach().round()
        return blocks.picture(whole + 16 * (coefficients - whole) ** 5)

    def stored(self, lr: Tensor) -> Tensor:
        return self.codec.roundtrip(quantize(lr), self.alpha)[0]


@final
@dataclass(frozen=True, kw_only=True)
class CompressedSize(Penalty):
    """``weight`` times a smooth estimate of the bits that a JPEG spends on a pixel.

    Of every coefficient but the first of a block, in steps of its table: ``4.5 c² / (c² + ¼)``, for being there at all,
    and ``log₂(1 + |c|)`` for its size; of the first one's change from block to block, ``log₂(1 + |d|)``. Other codecs,
    which transform blocks too, are taken for a JPEG of the same quality.

    Args:
        codec: of the file.
        weight: in units of the loss per bit and LR pixel, ≥ 0.
    """

    codec: Codec
    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise UsageError(f"weight {self.weight}: must be 0 or more, and finite")

    def bind(self, *, hr: Tensor, plain_lr: Tensor, scale: int) -> Callable[[Tensor], Tensor]:
        return lambda lr: self.weight * self.bits(lr)

    def bits(self, lr: Tensor) -> Tensor:
        """The estimate, in bits per LR pixel, of a picture ``[1, 3, h, w]``."""
        coefficients = _Blocks(lr, self.codec.quality).coefficients(lr)
        squares = coefficients.square()
        bits = 4.5 * squares / (squares + 0.25) + _bits_of_magnitude(squares)
        first = coefficients[..., 0, 0]
        steps = torch.diff(first, dim=-1).square()
        total = bits.sum() - bits[..., 0, 0].sum() + _bits_of_magnitude(steps).sum()
        return total / (lr.shape[-2] * lr.shape[-1])


def _bits_of_magnitude(squares: Tensor) -> Tensor:
    """``log₂(1 + |c|)`` of numbers that are given by their squares, smooth at 0."""
    return torch.log2((1 + (squares + 0.01).sqrt()) / 1.1)


def _is_plain_jpeg(codec: Codec) -> bool:
    return codec.format == "jpeg" and codec.subsampling == "4:4:4"


class _Blocks:
    """The blocks of JPEGs of one quality and of one size: RGB pictures ↔ DCT coefficients of luma and color.

    Source: ITU-T T.81 (JPEG), annex A.3.3, and T.871 (JFIF), section 7.
    """

    def __init__(self, lr: Tensor, quality: int) -> None:
        self._height, self._width = lr.shape[-2:]
        self._transform = _COSINES.to(lr)
        self._steps = torch.tensor(_steps(quality)).to(lr)[:, None, None]
        self._to_luma = _TO_LUMA.to(lr)
        self._middle = lr.new_tensor([128.0, 0.0, 0.0])[:, None, None]

    def coefficients(self, rgb: Tensor) -> Tensor:
        """``[N, 3, h, w]`` → ``[N, 3, ⌈h/8⌉, ⌈w/8⌉, 8, 8]``, in steps of the tables."""
        padded = F.pad(rgb, (0, -self._width % _BLOCK, 0, -self._height % _BLOCK), mode="replicate")
        luma = torch.einsum("ij,njhw->nihw", self._to_luma, 255 * padded) - self._middle
        # Encoders take luma and colors in whole levels.
        luma = straight_through(luma, torch.round)
        count, channels, height, width = luma.shape
        grid = (count, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
        blocks = luma.reshape(grid).transpose(3, 4)
        return self._transform @ blocks @ self._transform.mT / self._steps

    def picture(self, coefficients: Tensor) -> Tensor:
        """The inverse, cropped, not clamped."""
        blocks = self._transform.mT @ (coefficients * self._steps) @ self._transform
        count, channels, down, across = blocks.shape[:4]
        luma = blocks.transpose(3, 4).reshape(count, channels, _BLOCK * down, _BLOCK * across)
        rgb = torch.einsum("ij,njhw->nihw", torch.linalg.inv(self._to_luma), luma + self._middle) / 255
        return rgb[..., : self._height, : self._width]


def _cosines() -> Tensor:
    """The orthonormal DCT of 8 samples, ``[frequency, sample]``."""
    frequency, sample = torch.arange(_BLOCK)[:, None], torch.arange(_BLOCK)
    waves = torch.cos((2 * sample + 1) * frequency * math.pi / (2 * _BLOCK))
    return waves * torch.where(frequency == 0, 1 / _BLOCK, 2 / _BLOCK).sqrt()


_COSINES = _cosines()
_TO_LUMA = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


@functools.lru_cache(maxsize=8)
def _steps(quality: int) -> list[list[list[float]]]:
    """Steps of the coefficients of luma and both colors, in gray levels: 3 × 8 × 8."""
    luma, color = Codec(format="jpeg", quality=quality).steps()
    return [[[float(step) for step in table[8 * row :][:8]] for row in range(8)] for table in (luma, color, color)]
