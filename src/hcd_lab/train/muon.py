"""Muon: orthogonalized momentum for inner convolutions, Adam for everything else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor, nn

from hcd.nets.cpu.precision import has_bfloat16
from hcd.nets.dense import DenseBlock
from hcd.nets.hcflow_layers import ZeroConv
from hcd.nets.light import Stack

# Coefficients of five odd polynomials of degree five, whose composition maps singular values in [1e-3, 1] near 1.
# Source: Cesista, You and Jordan, "Squeezing 1-2% Efficiency Gains Out of Muon", 2025.
_POLYNOMIALS = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
# Root mean square of a step over the learning rate, about that of Adam.
_RMS = 0.2
# Learning rate of all other parameters over that of matrices.
_ADAM_SHARE = 0.3
_EPSILON = 1e-8


@final
class Muon(torch.optim.Optimizer):
    """Step every matrix by its orthogonalized momentum, and all other parameters by Adam.

    The weight of a convolution is a matrix with a row per output channel. Matrices of equal shape are batched, in
    bfloat16, which makes it cheap for networks of hundreds of small convolutions (``docs/notes/0022``).

    Args:
        matrices: convolution weights ``[out, …]``.
        others: all other parameters, stepped by Adam at 0.3 of the learning rate.
        lr: learning rate of matrices; a tensor if steps are captured as a CUDA graph.
        momentum: Nesterov momentum of matrices.
        betas: coefficients of Adam.
        weight_decay: decoupled, for matrices.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; Liu et al., "Muon is
        Scalable for LLM Training", 2025 (arXiv 2502.16982), for the size of a step.
    Departs: convolutions are batched, unlike in ``torch.optim.Muon``; other polynomials; last convolutions of blocks
        are left to Adam, see :func:`inner_convolutions`.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        lr: float | Tensor,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        shared = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        groups = [{"params": list(params), "matrices": flag} for params, flag in ((matrices, True), (others, False))]
        super().__init__([group for group in groups if group["params"]], shared)
        for group in self.param_groups:
            # A tensor, so that captured steps count too.
            group["done"] = torch.zeros((), device=group["params"][0].device)
            for parameter in group["params"]:
                names = ("momentum",) if group["matrices"] else ("momentum", "square")
                self.state[parameter].update({name: torch.zeros_like(parameter) for name in names})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                move = self._move_matrices if group["matrices"] else self._move_others
                move(group, parameters, [parameter.grad for parameter in parameters])

    def _move_matrices(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        momenta = self._state_of(parameters, "momentum")
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        by_shape: dict[torch.Size, list[int]] = {}
        for i, parameter in enumerate(parameters):
            by_shape.setdefault(parameter.shape, []).append(i)
        for members in by_shape.values():
            steps = orthogonalize(torch.stack([_as_matrix(ahead[i]) for i in members]))
            steps = steps * (-group["lr"] * _RMS * math.sqrt(max(steps.shape[-2:])))
            moved = [parameters[i] for i in members]
            torch._foreach_add_(moved, [_as_weight(step, of) for step, of in zip(steps, moved, strict=True)])

    def _move_others(self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        momenta, squares = self._state_of(parameters, "momentum"), self._state_of(parameters, "square")
        first, second = group["betas"]
        group["done"] += 1
        torch._foreach_lerp_(momenta, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1 - second ** group["done"]).sqrt())
        torch._foreach_add_(roots, _EPSILON)
        steps = torch._foreach_div(momenta, roots)
        torch._foreach_mul_(steps, -_ADAM_SHARE * group["lr"] / (1 - first ** group["done"]))
        torch._foreach_add_(parameters, steps)

    def _state_of(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        return [self.state[parameter][name] for parameter in parameters]


def inner_convolutions(net: nn.Module) -> list[Tensor]:
    """Return the weights that Muon steps: those of all convolutions but the ones that start at zero.

    Those write the output of a block into the picture and its latents. Orthogonal steps move them equally far in
    directions that hardly matter, which costs a trained network more than it learns (``docs/notes/0022``).
    """
    heads = {id(m.last) for m in net.modules() if isinstance(m, DenseBlock) and m.starts_at_zero}
    heads |= {id(m.convs[-1]) for m in net.modules() if isinstance(m, Stack)}
    return [
        module.weight
        for module in net.modules()
        if isinstance(module, nn.Conv2d) and not isinstance(module, ZeroConv) and id(module) not in heads
    ]


def orthogonalize(matrices: Tensor) -> Tensor:
    """Map the singular values of ``[N, rows, columns]`` near 1; those below a thousandth of the norm stay smaller."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    fast = torch.bfloat16 if matrices.is_cuda or has_bfloat16() else torch.float32
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) + _EPSILON)).to(fast)
    for a, b, c in _POLYNOMIALS:
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).float()


def _as_matrix(weight: Tensor) -> Tensor:
    """``[out, in, …]`` → ``[out, … · in]``, without a copy for channels-last weights."""
    return weight.movedim(1, -1).flatten(1)


def _as_weight(matrix: Tensor, like: Tensor) -> Tensor:
    """Invert ``_as_matrix``."""
    return matrix.view(like.movedim(1, -1).shape).movedim(-1, 1)
