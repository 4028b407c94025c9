"""The interface of kernels for layers with frozen weights, and their step in autograd."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Kernel(ABC):
    """Computes a layer with frozen weights, and the gradient with respect to its input. Holds no picture."""

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        """Allocate the tensors that ``forward`` fills for ``backward``.

        They are allocated up front: long-lived tensors between short-lived ones fragment the heap.
        """
        return []

    @abstractmethod
    def forward(self, x: Tensor, saved: list[Tensor] | None) -> Tensor:
        """Return the result. If ``saved`` is given, it comes from ``allocate_saved`` and is filled."""

    @abstractmethod
    def backward(self, gradient: Tensor, saved: Sequence[Tensor]) -> Tensor:
        """Return the gradient with respect to the input."""


def run_frozen(kernel: Kernel, x: Tensor) -> Tensor:
    """Run a kernel; the result is differentiable once with respect to ``x``."""
    if x.requires_grad and torch.is_grad_enabled():
        result: Tensor = _Frozen.apply(x, kernel)  # type: ignore[no-untyped-call]
        return result
    return kernel.forward(x, None)


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Kernel) -> Tensor:
        saved = kernel.allocate_saved(x)
        result = kernel.forward(x, saved)
        ctx.kernel = kernel
        ctx.save_for_backward(*saved)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # Checkpointing allows saved tensors to be unpacked only once.
        return ctx.kernel.backward(gradient, ctx.saved_tensors), None
