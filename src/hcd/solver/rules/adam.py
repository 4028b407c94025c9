"""Adam: momentum, and a step size per element from the running mean of its squared gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from hcd.solver.rules.base import Point, StepRule, check_positive, check_share
from hcd.solver.rules.moves import is_sound, largest


@dataclass(frozen=True, kw_only=True)
class _AdamState:
    """Moments of the gradient in units of ``scale``, the last position with finite values, and the number of steps."""

    mean: Tensor
    square: Tensor
    x: Tensor
    scale: float
    steps: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class Adam(StepRule):
    """``x − step_size · m̂ / (√v̂ + stabilizer)`` with running means m of the gradient and v of its square.

    Args:
        step_size: approximate change of every element per step while its gradient keeps its sign, > 0.
        momentum, memory: decay rates of the running means of gradient and squared gradient (β₁, β₂), in [0, 1).
        stabilizer: added to √v, relative to the largest element of the first gradient, > 0.
        max_step: largest change of an element in any step, > 0.

    Source: D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
    Departs: gradients are divided by the largest element of the first, so that the stabilizer does not depend on the
    units of the objective. Steps are clamped. If value or gradient at a new point is not finite, the step is halved and
    enters no mean.
    """

    step_size: float = 0.5 / 255
    momentum: float = 0.8
    memory: float = 0.95
    stabilizer: float = 1e-8
    max_step: float = 6 / 255

    def __post_init__(self) -> None:
        check_positive("Adam", step_size=self.step_size, stabilizer=self.stabilizer, max_step=self.max_step)
        check_share("Adam", momentum=self.momentum, memory=self.memory)

    def init(self) -> _AdamState | None:
        return None

    def step(self, point: Point, state: _AdamState | None) -> tuple[Tensor, _AdamState | None]:
        if not is_sound(point):
            return (point.x if state is None else torch.lerp(state.x, point.x, 0.5)), state
        if state is None:
            scale = largest(point.gradient)
            if scale == 0:
                return point.x, None
            zeros = torch.zeros_like(point.x)
            state = _AdamState(mean=zeros, square=zeros, x=point.x, scale=scale)
        gradient = point.gradient / state.scale
        mean = torch.lerp(gradient, state.mean, self.momentum)
        square = torch.lerp(gradient.square(), state.square, self.memory)
        steps = state.steps + 1
        unbiased = square / (1 - self.memory**steps)
        move = mean / (1 - self.momentum**steps) / (unbiased.sqrt() + self.stabilizer)
        candidate = point.x - (self.step_size * move).clamp(-self.max_step, self.max_step)
        return candidate, _AdamState(mean=mean, square=square, x=point.x, scale=state.scale, steps=steps)
