"""Muon: steps of inner convolutions by their orthogonalized momentum, of everything else by Adam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor, nn

from hcd.nets.dense import DenseBlock
from hcd.nets.hcflow_layers import ZeroConv
from hcd.nets.precision import has_bfloat16

# Coefficients of five odd polynomials of degree five whose composition takes singular values from about 1e-3 to 1 near
# 1. Source: Cesista, You and Jordan, "Squeezing 1-2% Efficiency Gains Out of Muon", 2025.
_POLYNOMIALS = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
# Root mean square of the entries of a step, in learning rates: about that of Adam's.
_RMS = 0.2
# Of the rate of matrices, what everything else moves at.
_ADAM_SHARE = 0.3
_EPSILON = 1e-8


@final
class Muon(torch.optim.Optimizer):
    """Orthogonalizes the momentum of every matrix, so that it moves in all directions alike.

    The weight of a convolution is a matrix with a row per output. Matrices of one shape are worked on together, in
    bfloat16, which on a network of hundreds of small convolutions is what makes it cheap (``docs/notes/0022``).

    Args:
        matrices: weights ``[out, …]``.
        others: whatever else trains; stepped by Adam at a part of the rate.
        lr: learning rate of matrices; a tensor where steps are captured as a graph.
        momentum: of matrices; the step looks ahead by it (Nesterov).
        betas: of Adam.
        weight_decay: of matrices, decoupled.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; Liu et al., "Muon is
        Scalable for LLM Training", 2025 (arXiv 2502.16982), for the size of a step.
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
            for parameter in group["params"]:
                state = self.state[parameter]
                state["momentum"] = torch.zeros_like(parameter)
                if not group["matrices"]:
                    state["square"] = torch.zeros_like(parameter)
                    state["step"] = torch.zeros((), device=parameter.device)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters; each has a gradient."""
        for group in self.param_groups:
            move = self._move_matrices if group["matrices"] else self._move_others
            move(group)

    def _move_matrices(self, group: dict[str, Any]) -> None:
        parameters = group["params"]
        gradients = [parameter.grad for parameter in parameters]
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        if group["weight_decay"]:
            for parameter in parameters:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
        by_shape: dict[tuple[int, int], list[int]] = {}
        for i, parameter in enumerate(parameters):
            by_shape.setdefault((len(parameter), parameter[0].numel()), []).append(i)
        for shape, members in by_shape.items():
            steps = orthogonalize(torch.stack([ahead[i].reshape(shape) for i in members]))
            steps = steps * (-group["lr"] * _RMS * math.sqrt(max(shape)))
            for i, step in zip(members, steps, strict=True):
                parameters[i].add_(step.view(parameters[i].shape))

    def _move_others(self, group: dict[str, Any]) -> None:
        first, second = group["betas"]
        for parameter in group["params"]:
            state = self.state[parameter]
            state["step"] += 1
            state["momentum"].lerp_(parameter.grad, 1 - first)
            state["square"].mul_(second).addcmul_(parameter.grad, parameter.grad, value=1 - second)
            root = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(_EPSILON)
            rate = _ADAM_SHARE * group["lr"] / (1 - first ** state["step"])
            parameter.sub_(state["momentum"] / root * rate)


def inner_convolutions(net: nn.Module) -> list[Tensor]:
    """The weights that Muon is for: those of convolutions, but for the ones that start at zero.

    Through these, blocks write into the picture and its details. Orthogonal steps move them as far in directions that
    hardly matter as in those that do, which costs a trained network more than it learns (``docs/notes/0022``).
    """
    heads = {id(block.last) for block in net.modules() if type(block) is DenseBlock}
    return [
        module.weight
        for module in net.modules()
        if isinstance(module, nn.Conv2d) and not isinstance(module, ZeroConv) and id(module) not in heads
    ]


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of ``[N, rows, columns]`` near 1; those below a thousandth of the norm stay smaller."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    fast = torch.bfloat16 if matrices.is_cuda or has_bfloat16() else torch.float32
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) + _EPSILON)).to(fast)
    for a, b, c in _POLYNOMIALS:
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).float()
