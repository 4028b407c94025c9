"""Rounding to 8 bits with a gradient, and whatever else has none of its own: the step between a rescaler's halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

GRAY_LEVEL = 1 / 255
"""The distance of two neighboring values in an 8-bit file."""


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
    return straight_through(image, lambda x: x.clamp(0, 1).mul(levels).round().div(levels))


def straight_through(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """``function(x)``, with the gradient and the directional derivative of the identity.

    Args:
        x: any shape.
        function: gives a new tensor of that shape; no gradient is asked of it.
    """
    result: Tensor = _StraightThrough.apply(x, function)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    """``x + (function(x) - x).detach()`` would miss a file's value by an ulp."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        return None if tangents[0] is None else tangents[0].clone()
