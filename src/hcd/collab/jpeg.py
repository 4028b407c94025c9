"""A differentiable JPEG: DCT coefficients of a codec's tables, soft rounding, and an estimate of the file size."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.image import Codec
from hcd.ops import straight_through

_BLOCK = 8


def differentiable_jpeg(lr: Tensor, quality: int) -> Tensor:
    """Encode and decode ``[N, 3, h, w]`` as a JPEG without chroma subsampling, with a useful gradient.

    A coefficient c, in steps of its quantization table, becomes ``r + 16 (c − r)⁵`` with ``r = round(c)``: nearly an
    integer, with a slope only where a small move changes it.

    Source: R. Shin and D. Song, "JPEG-resistant adversarial images", NIPS workshop on machine learning and computer
    security 2017, equation 1.
    Departs: the fifth power instead of the third, which restores better from the decoded file; see
    docs/notes/0007-codec-in-the-loop.md.
    """
    blocks = _Blocks(lr, quality)
    coefficients = blocks.coefficients(lr)
    rounded = coefficients.detach().round()
    return blocks.image(rounded + 16 * (coefficients - rounded) ** 5)


def estimate_bits(lr: Tensor, quality: int) -> Tensor:
    """Estimate the bits per LR pixel that a JPEG of ``[1, 3, h, w]`` takes, smoothly.

    In steps of its table, an AC coefficient c costs ``4.5 c² / (c² + ¼)`` for not being zero and ``log₂(1 + |c|)`` for
    its magnitude. A DC coefficient costs ``log₂(1 + |d|)``, where d is its difference from the block before.
    """
    coefficients = _Blocks(lr, quality).coefficients(lr)
    squares = coefficients.square()
    bits = 4.5 * squares / (squares + 0.25) + _bits_of_magnitude(squares)
    steps = torch.diff(coefficients[..., 0, 0], dim=-1).square()
    total = bits.sum() - bits[..., 0, 0].sum() + _bits_of_magnitude(steps).sum()
    return total / (lr.shape[-2] * lr.shape[-1])


def _bits_of_magnitude(squares: Tensor) -> Tensor:
    """Return ``log₂(1 + |c|)``, smooth at 0, from c²."""
    return torch.log2((1 + (squares + 0.01).sqrt()) / 1.1)


class _Blocks:
    """RGB images ↔ DCT coefficients of Y, Cb and Cr, for one JPEG quality and image size.

    Source: ITU-T T.81 (JPEG), annex A.3.3, and T.871 (JFIF), section 7.
    """

    def __init__(self, lr: Tensor, quality: int) -> None:
        self._height, self._width = lr.shape[-2:]
        self._transform = _COSINES.to(lr)
        self._steps = torch.tensor(_steps(quality)).to(lr)[:, None, None]
        self._to_ycbcr = _TO_YCBCR.to(lr)
        self._middle = lr.new_tensor([128.0, 0.0, 0.0])[:, None, None]

    def coefficients(self, rgb: Tensor) -> Tensor:
        """``[N, 3, h, w]`` → ``[N, 3, ⌈h/8⌉, ⌈w/8⌉, 8, 8]``, in steps of the tables."""
        padded = F.pad(rgb, (0, -self._width % _BLOCK, 0, -self._height % _BLOCK), mode="replicate")
        ycbcr = torch.einsum("ij,njhw->nihw", self._to_ycbcr, 255 * padded) - self._middle
        # Encoders round Y, Cb and Cr to integers.
        ycbcr = straight_through(ycbcr, torch.round)
        count, channels, height, width = ycbcr.shape
        grid = (count, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
        blocks = ycbcr.reshape(grid).transpose(3, 4)
        return self._transform @ blocks @ self._transform.mT / self._steps

    def image(self, coefficients: Tensor) -> Tensor:
        """The inverse, cropped to the image size, not clamped."""
        blocks = self._transform.mT @ (coefficients * self._steps) @ self._transform
        count, channels, down, across = blocks.shape[:4]
        ycbcr = blocks.transpose(3, 4).reshape(count, channels, _BLOCK * down, _BLOCK * across)
        rgb = torch.einsum("ij,njhw->nihw", torch.linalg.inv(self._to_ycbcr), ycbcr + self._middle) / 255
        return rgb[..., : self._height, : self._width]


def _cosines() -> Tensor:
    """Return the orthonormal DCT of 8 samples, ``[frequency, sample]``."""
    frequency, sample = torch.arange(_BLOCK)[:, None], torch.arange(_BLOCK)
    waves = torch.cos((2 * sample + 1) * frequency * math.pi / (2 * _BLOCK))
    return waves * torch.where(frequency == 0, 1 / _BLOCK, 2 / _BLOCK).sqrt()


_COSINES = _cosines()
_TO_YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


@functools.lru_cache(maxsize=8)
def _steps(quality: int) -> list[list[list[float]]]:
    """Return the quantization steps of Y, Cb and Cr, in gray levels: 3 × 8 × 8."""
    luma, color = Codec(format="jpeg", quality=quality).steps()
    return [[[float(step) for step in table[8 * row :][:8]] for row in range(8)] for table in (luma, color, color)]
