"""Affine couplings with frozen weights: both directions and their input gradients, each as one step of autograd.

Autograd would save every intermediate result of a coupling. Here it saves the activation masks of the blocks and two
tensors of the size of the details, one of which is a part of the coupling's own input or output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hcd.nets.cpu.kernel import Kernel

_Saved = tuple[list[Tensor], list[Tensor]] | tuple[None, None]
_NOTHING = (None, None)


class ScaleAndShift(ABC):
    """Computes the logarithm of the scale, and the shift, of the details from the LR channels."""

    @abstractmethod
    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        """Allocate what ``forward`` saves for ``backward``, for the height and width of ``x``."""

    @abstractmethod
    def forward(self, lr: Tensor, saved: list[Tensor] | None, log_scale: Tensor) -> Tensor:
        """Write the logarithm of the scale, ``tanh(result / 2)``, into ``log_scale``; return the shift."""

    @abstractmethod
    def backward(self, by_scale: Tensor, by_shift: Tensor, saved: list[Tensor]) -> Iterator[Tensor]:
        """Yield terms whose sum is the gradient with respect to ``lr``.

        Args:
            by_scale: the gradient with respect to the result before ``tanh``.
            by_shift: the gradient with respect to the shift.
            saved: what ``forward`` filled.
        """


@final
@dataclass(frozen=True, kw_only=True)
class TwoBlocks(ScaleAndShift):
    """One block for the scale, another for the shift."""

    scale: Kernel
    shift: Kernel

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        return [*self.scale.allocate_saved(x), *self.shift.allocate_saved(x)]

    def forward(self, lr: Tensor, saved: list[Tensor] | None, log_scale: Tensor) -> Tensor:
        # Both blocks have the same number of convolutions, so that each saves half.
        half = 0 if saved is None else len(saved) // 2
        of_scale, of_shift = (None, None) if saved is None else (saved[:half], saved[half:])
        torch.mul(self.scale.forward(lr, of_scale), 0.5, out=log_scale).tanh_()
        return self.shift.forward(lr, of_shift)

    def backward(self, by_scale: Tensor, by_shift: Tensor, saved: list[Tensor]) -> Iterator[Tensor]:
        half = len(saved) // 2
        yield self.shift.backward(by_shift, saved[half:])
        yield self.scale.backward(by_scale, saved[:half])


@final
@dataclass(frozen=True, kw_only=True)
class OneBlock(ScaleAndShift):
    """One block whose channels are the scale in the first half, the shift in the second."""

    block: Kernel

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        return self.block.allocate_saved(x)

    def forward(self, lr: Tensor, saved: list[Tensor] | None, log_scale: Tensor) -> Tensor:
        scale, shift = self.block.forward(lr, saved).chunk(2, dim=1)
        torch.mul(scale, 0.5, out=log_scale).tanh_()
        return shift

    def backward(self, by_scale: Tensor, by_shift: Tensor, saved: list[Tensor]) -> Iterator[Tensor]:
        yield self.block.backward(torch.cat([by_scale, by_shift], dim=1), saved)


@final
@dataclass(frozen=True, kw_only=True)
class FrozenCoupling:
    """Computes what :class:`hcd.nets.irn.Coupling` and :class:`hcd.nets.light.LightCoupling` do, with kernels.

    Attributes:
        f: computes the summand of the LR channels.
        scale_and_shift: computes the scale and the shift of the details.
        lr_channels: channels of the first part, the LR picture.
    """

    f: Kernel
    scale_and_shift: ScaleAndShift
    lr_channels: int

    def run(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to the same shape, differentiable once."""
        if x.requires_grad and torch.is_grad_enabled():
            result: Tensor = _Coupled.apply(x, self, False)  # type: ignore[no-untyped-call]
            return result
        return self.forward(x)[0]

    def run_inverse(self, y: Tensor) -> Tensor:
        """Undo ``run``, differentiable once."""
        if y.requires_grad and torch.is_grad_enabled():
            result: Tensor = _Coupled.apply(y, self, True)  # type: ignore[no-untyped-call]
            return result
        return self.inverse(y)[0]

    def allocate_saved(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Allocate what either direction saves for its gradient."""
        return self.f.allocate_saved(x), self.scale_and_shift.allocate_saved(x)

    def forward(self, x: Tensor, saved: _Saved = _NOTHING) -> tuple[Tensor, Tensor]:
        """Return the result and the logarithm of the scale.

        Args:
            x: ``[N, C, H, W]``.
            saved: from ``allocate_saved``, to be filled for a gradient; default: no gradient follows.
        """
        of_f, of_condition = saved
        x1, x2 = self._split(x)
        y, log_scale = torch.empty_like(x), torch.empty_like(x2)
        y1, y2 = self._split(y)
        torch.add(x1, self.f.forward(x2, of_f), out=y1)
        shift = self.scale_and_shift.forward(y1, of_condition, log_scale)
        torch.mul(x2, torch.exp(log_scale), out=y2)
        y2.add_(shift)
        return y, log_scale

    def inverse(self, y: Tensor, saved: _Saved = _NOTHING) -> tuple[Tensor, Tensor]:
        """Undo ``forward``; the same returns and arguments."""
        of_f, of_condition = saved
        y1, y2 = self._split(y)
        x, log_scale = torch.empty_like(y), torch.empty_like(y2)
        x1, x2 = self._split(x)
        torch.sub(y2, self.scale_and_shift.forward(y1, of_condition, log_scale), out=x2)
        x2.mul_(torch.exp(-log_scale))
        torch.sub(y1, self.f.forward(x2, of_f), out=x1)
        return x, log_scale

    def forward_gradient(self, gradient: Tensor, x: Tensor, log_scale: Tensor, saved: Sequence[list[Tensor]]) -> Tensor:
        """Return the gradient of ``forward`` with respect to its input."""
        of_f, of_condition = saved
        _, x2 = self._split(x)
        by_y1, by_y2 = self._split(gradient)
        total = torch.empty_like(gradient)
        by_x1, by_x2 = self._split(total)
        torch.mul(by_y2, torch.exp(log_scale), out=by_x2)
        by_scale = _through_tanh(by_x2 * x2, log_scale)
        by_x1.copy_(by_y1)
        for part in self.scale_and_shift.backward(by_scale, by_y2, of_condition):
            by_x1.add_(part)
        by_x2.add_(self.f.backward(by_x1, of_f))
        return total

    def inverse_gradient(self, gradient: Tensor, x: Tensor, log_scale: Tensor, saved: Sequence[list[Tensor]]) -> Tensor:
        """Return the gradient of ``inverse`` with respect to its input; ``x`` is its result."""
        of_f, of_condition = saved
        _, x2 = self._split(x)
        by_x1, by_x2 = self._split(gradient)
        total = torch.empty_like(gradient)
        by_y1, by_y2 = self._split(total)
        torch.sub(by_x2, self.f.backward(by_x1, of_f), out=by_y2)
        by_scale = _through_tanh(by_y2 * x2, log_scale)
        by_y2.mul_(torch.exp(-log_scale))
        by_y1.copy_(by_x1)
        for part in self.scale_and_shift.backward(by_scale, by_y2, of_condition):
            by_y1.sub_(part)
        return total

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, : self.lr_channels], x[:, self.lr_channels :]


def _through_tanh(gradient: Tensor, log_scale: Tensor) -> Tensor:
    """Turn the gradient with respect to ``log_scale = tanh(h / 2)`` into that with respect to h, in place."""
    return gradient.mul_(torch.addcmul(torch.ones_like(log_scale), log_scale, log_scale, value=-1)).mul_(0.5)


class _Coupled(torch.autograd.Function):
    """A coupling in autograd, in either direction."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, coupling: FrozenCoupling, inverse: bool) -> Tensor:
        saved = coupling.allocate_saved(start)
        end, log_scale = (coupling.inverse if inverse else coupling.forward)(start, saved)
        ctx.gradient = coupling.inverse_gradient if inverse else coupling.forward_gradient
        ctx.lengths = [len(part) for part in saved]
        # Either direction's gradient is computed from the side of the HR picture.
        x = end if inverse else start
        ctx.save_for_backward(x, log_scale, *(tensor for part in saved for tensor in part))
        return end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # Checkpointing allows saved tensors to be unpacked only once.
        x, log_scale, *flat = ctx.saved_tensors
        tensors = iter(flat)
        saved = [[next(tensors) for _ in range(length)] for length in ctx.lengths]
        return ctx.gradient(gradient, x, log_scale, saved), None, None
