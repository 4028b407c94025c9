"""Rounding to 8 bits with a gradient: the step between a rescaler's two halves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def quantize(image: Tensor, levels: int = 255) -> Tensor:
    """Clamp to [0, 1] and round to multiples of ``1/levels``; the gradient is the identity everywhere.

    Computes ``round(levels * clamp(x, 0, 1)) / levels`` with ties to even. The gradient passes
    straight through, also where the clamp acts, as in the training of IRN.

    Args:
        image: any shape, nominally in [0, 1].
        levels: the largest integer value of the file's samples; 255 for 8 bits.

    Returns:
        A tensor of the same shape whose values are multiples of ``1/levels`` in [0, 1].

    Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020, section 3.3.

    >>> (quantize(torch.tensor([-0.2, 0.5, 1.7])) * 255).tolist()
    [0.0, 128.0, 255.0]
    """
    result: Tensor = _StraightThrough.apply(image, levels)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    """Rounded forward, identity backward. ``x + (round(x) - x).detach()`` would miss the file's value by an ulp."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, levels: int) -> Tensor:
        return image.clamp(0, 1).mul(levels).round().div(levels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return tangents[0].clone()
