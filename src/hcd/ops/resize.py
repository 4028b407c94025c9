"""Bicubic resizing as MATLAB does it, which the protocols of the field are defined with."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from hcd.errors import ShapeError, UsageError


def resize_bicubic(image: Tensor, factor: float | Fraction) -> Tensor:
    """Resize by ``factor`` as MATLAB's ``imresize(..., 'bicubic')`` does, antialiased when shrinking.

    Keys' cubic kernel with a = -0.5, widened by ``1/factor`` when ``factor < 1``; weights are
    normalized per output pixel; the border is mirrored at half samples (the edge pixel repeats).

    Args:
        image: ``[N, C, H, W]``, any range; computed in its own dtype (float32 or float64).
        factor: output side / input side, e.g. ``Fraction(1, 4)`` or ``4``.

    Returns:
        ``[N, C, ceil(H * factor), ceil(W * factor)]``, neither clamped nor rounded. Differentiable.

    Raises:
        ShapeError: the input is not a four-dimensional floating point tensor.
        UsageError: the factor is not positive.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981;
        the MATLAB conventions as the published rescaling networks use them.
    """
    if image.ndim != 4 or not image.is_floating_point():
        raise ShapeError(f"resize_bicubic: got {image.dtype} of shape {tuple(image.shape)}, needs float [N, C, H, W]")
    ratio = Fraction(factor).limit_denominator(4096)
    if ratio <= 0:
        raise UsageError(f"resize_bicubic: factor {factor} is not positive")
    rows, columns = (_resampling(n, ratio) for n in image.shape[-2:])
    image = _join([block.matrix.to(image) @ image[..., block.begin : block.end, :] for block in rows], dim=-2)
    return _join([image[..., block.begin : block.end] @ block.matrix.to(image).mT for block in columns], dim=-1)


def _join(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


class _Block(NamedTuple):
    """Neighboring outputs of one axis: a matrix applied to the inputs from ``begin`` to ``end``."""

    begin: int
    end: int
    matrix: Tensor


@functools.lru_cache(maxsize=4)
def _resampling(length: int, ratio: Fraction) -> tuple[_Block, ...]:
    """Return the float64 matrix ``[ceil(length * ratio), length]`` that resamples one axis, as blocks along its band.

    A dense matrix would take gigabytes for large images.
    """
    # Cached: a matrix made in inference mode could not take part in autograd later.
    with torch.inference_mode(False):
        return _make_resampling(length, ratio)


def _make_resampling(length: int, ratio: Fraction) -> tuple[_Block, ...]:
    out_length = math.ceil(length * ratio)
    stretch = max(1.0, float(1 / ratio))
    taps = math.ceil(4 * stretch) + 2
    centers = (torch.arange(out_length, dtype=torch.float64) + 0.5) / float(ratio) - 0.5
    first = torch.floor(centers - 2 * stretch)
    positions = first[:, None] + torch.arange(taps, dtype=torch.float64)
    weights = _cubic((centers[:, None] - positions) / stretch)
    weights = weights / weights.sum(dim=1, keepdim=True)
    mirrored = positions.long() % (2 * length)
    mirrored = torch.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    blocks = []
    for start in range(0, out_length, _OUTPUTS):
        inputs, shares = mirrored[start : start + _OUTPUTS], weights[start : start + _OUTPUTS]
        begin, end = int(inputs.min()), int(inputs.max()) + 1
        matrix = torch.zeros(len(inputs), end - begin, dtype=torch.float64)
        blocks.append(_Block(begin, end, matrix.scatter_add_(1, inputs - begin, shares)))
    return tuple(blocks)


# Outputs of a block. Larger blocks are slower since most of them is zeros; smaller ones since there are more of them.
_OUTPUTS = 128


def _cubic(x: Tensor) -> Tensor:
    """Evaluate Keys' kernel with a = -0.5 on [-2, 2]."""
    x = x.abs()
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, inner, torch.where(x <= 2, outer, torch.zeros_like(x)))
