"""Rounding to the levels of a file, with straight-through gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

GRAY_LEVEL = 1 / 255
"""Distance between neighboring values of an 8-bit file."""


def quantize(image: Tensor, levels: int = 255) -> Tensor:
    """Clamp to [0, 1] and round to multiples of ``1/levels``, with the gradient of the identity.

    Computes ``round(levels * clamp(x, 0, 1)) / levels`` with ties to even. The gradient passes straight through,
    including where the clamp is active, as in the training of IRN.

    Args:
        image: any shape, nominally in [0, 1].
        levels: largest integer sample value of the file; 255 for 8 bits.

    Returns:
        A tensor of the same shape whose values are multiples of ``1/levels`` in [0, 1].

    Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020, section 3.3.

    >>> (quantize(torch.tensor([-0.2, 0.5, 1.7])) * 255).tolist()
    [0.0, 128.0, 255.0]
    """
    return straight_through(image, lambda x: x.clamp(0, 1).mul(levels).round().div(levels))


def straight_through(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``function(x)`` with the gradient of the identity.

    Args:
        x: any shape.
        function: returns a new tensor of that shape; it is never differentiated.
    """
    result: Tensor = _StraightThrough.apply(x, function)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    # Not x + (function(x) - x).detach(): that misses the file's values by an ulp.

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
