"""Affine couplings whose weights stay as they are: both directions, and the gradients of their inputs, in one piece.

Autograd would keep every intermediate result of a coupling. Here two tensors of the size of the details are kept, one
of which is a part of the coupling's own input or output, and the bits of its dense blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hcd.nets.cpu.dense_block import FrozenBlock

_Kept = Sequence[list[Tensor]] | Sequence[None]
_NOTHING = (None, None, None)


@final
@dataclass(frozen=True, kw_only=True)
class FrozenCoupling:
    """What :class:`hcd.nets.irn.Coupling` computes, by its formulas.

    Attributes:
        f, g, h: its blocks.
        lr_channels: channels of the first part, the LR picture.
    """

    f: FrozenBlock
    g: FrozenBlock
    h: FrozenBlock
    lr_channels: int

    def run(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` → the same, differentiable once."""
        if x.requires_grad and torch.is_grad_enabled():
            result: Tensor = _Coupled.apply(x, self, False)  # type: ignore[no-untyped-call]
            return result
        return self.forward(x)[0]

    def run_inverse(self, y: Tensor) -> Tensor:
        """Undoes ``run``."""
        if y.requires_grad and torch.is_grad_enabled():
            result: Tensor = _Coupled.apply(y, self, True)  # type: ignore[no-untyped-call]
            return result
        return self.inverse(y)[0]

    def allocate_saved(self, x: Tensor) -> list[list[Tensor]]:
        """Where either direction puts what the gradient needs of its blocks."""
        return [block.allocate_saved(x) for block in (self.f, self.g, self.h)]

    def forward(self, x: Tensor, kept: _Kept = _NOTHING) -> tuple[Tensor, Tensor]:
        """The result and the logarithm of the scale.

        Args:
            kept: what ``allocate_saved`` returned, to take what the blocks need for gradients.
        """
        of_f, of_g, of_h = kept
        x1, x2 = self._split(x)
        y, log_scale = torch.empty_like(x), torch.empty_like(x2)
        y1, y2 = self._split(y)
        torch.add(x1, self.f.forward(x2, of_f), out=y1)
        self._log_scale(y1, of_h, log_scale)
        torch.mul(x2, torch.exp(log_scale), out=y2)
        y2.add_(self.g.forward(y1, of_g))
        return y, log_scale

    def inverse(self, y: Tensor, kept: _Kept = _NOTHING) -> tuple[Tensor, Tensor]:
        """As ``forward``, the other kernel."""
        of_f, of_g, of_h = kept
        y1, y2 = self._split(y)
        x, log_scale = torch.empty_like(y), torch.empty_like(y2)
        x1, x2 = self._split(x)
        self._log_scale(y1, of_h, log_scale)
        torch.sub(y2, self.g.forward(y1, of_g), out=x2)
        x2.mul_(torch.exp(-log_scale))
        torch.sub(y1, self.f.forward(x2, of_f), out=x1)
        return x, log_scale

    def forward_gradient(self, gradient: Tensor, x: Tensor, log_scale: Tensor, kept: Sequence[list[Tensor]]) -> Tensor:
        """Of ``forward`` by its input."""
        of_f, of_g, of_h = kept
        _, x2 = self._split(x)
        by_y1, by_y2 = self._split(gradient)
        total = torch.empty_like(gradient)
        by_x1, by_x2 = self._split(total)
        torch.mul(by_y2, torch.exp(log_scale), out=by_x2)
        by_h = _by_block(by_x2 * x2, log_scale)
        torch.add(by_y1, self.g.backward(by_y2, of_g), out=by_x1)
        by_x1.add_(self.h.backward(by_h, of_h))
        by_x2.add_(self.f.backward(by_x1, of_f))
        return total

    def inverse_gradient(self, gradient: Tensor, x: Tensor, log_scale: Tensor, kept: Sequence[list[Tensor]]) -> Tensor:
        """Of ``inverse`` by its input, from its result ``x``."""
        of_f, of_g, of_h = kept
        _, x2 = self._split(x)
        by_x1, by_x2 = self._split(gradient)
        total = torch.empty_like(gradient)
        by_y1, by_y2 = self._split(total)
        torch.sub(by_x2, self.f.backward(by_x1, of_f), out=by_y2)
        by_h = _by_block(by_y2 * x2, log_scale)
        by_y2.mul_(torch.exp(-log_scale))
        torch.sub(by_x1, self.g.backward(by_y2, of_g), out=by_y1)
        by_y1.sub_(self.h.backward(by_h, of_h))
        return total

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, : self.lr_channels], x[:, self.lr_channels :]

    def _log_scale(self, y1: Tensor, kept: list[Tensor] | None, out: Tensor) -> None:
        # As in the coupling itself: the published soft clamp to (−1, 1).
        torch.mul(self.h.forward(y1, kept), 0.5, out=out).tanh_()


def _by_block(gradient: Tensor, log_scale: Tensor) -> Tensor:
    """The gradient by a block's result of what follows it: ``log_scale = tanh(result / 2)``."""
    return gradient.mul_(torch.addcmul(torch.ones_like(log_scale), log_scale, log_scale, value=-1)).mul_(0.5)


class _Coupled(torch.autograd.Function):
    """A coupling's place in autograd, in either direction."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, coupling: FrozenCoupling, inverse: bool) -> Tensor:
        kept = coupling.allocate_saved(start)
        end, log_scale = (coupling.inverse if inverse else coupling.forward)(start, kept)
        ctx.gradient = coupling.inverse_gradient if inverse else coupling.forward_gradient
        ctx.lengths = [len(part) for part in kept]
        # Either direction's gradient is computed from the side of the HR picture.
        x = end if inverse else start
        ctx.save_for_backward(x, log_scale, *(tensor for part in kept for tensor in part))
        return end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # Unpacked once, which is all that checkpointing around this allows.
        x, log_scale, *flat = ctx.saved_tensors
        tensors = iter(flat)
        kept = [[next(tensors) for _ in range(length)] for length in ctx.lengths]
        return ctx.gradient(gradient, x, log_scale, kept), None, None
