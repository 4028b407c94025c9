"""Rules that know the present gradient only: steps of a given length, and of a given size per element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.rules.base import Point, StepRule, check_positive
from hcd.solver.rules.moves import is_sound


@final
@dataclass(frozen=True, kw_only=True)
class NormalizedGradient(StepRule):
    """A step of fixed length against the gradient: ``x − step_size · g / ‖g‖₂``, norm over the whole tensor.

    A step to a point without value or gradient is taken back by half.

    Args:
        step_size: Euclidean length of the step, in the units of ``x``, > 0.

    Source: Xu et al., "Hierarchical Collaborative Downscaling", ICCV 2023 (arXiv 2211.10643), algorithm 1.
    """

    step_size: float = 20 / 255

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise UsageError(f"step_size {self.step_size}: must be greater than 0")

    def init(self) -> Tensor | None:
        return None

    def step(self, point: Point, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # The state is the last point that had a value.
        if not is_sound(point):
            return (point.x if state is None else torch.lerp(state, point.x, 0.5)), state
        length = torch.linalg.vector_norm(point.gradient)
        if length == 0:
            return point.x, point.x
        return point.x - self.step_size / length * point.gradient, point.x


@dataclass(frozen=True, kw_only=True)
class _SignState:
    step_size: float
    base: Point | None = None


@final
@dataclass(frozen=True, kw_only=True)
class SignGradient(StepRule):
    """Every element moves by the same amount against its gradient's sign: ``x − step_size · sign(g)``.

    Args:
        step_size: change of every element in the first step, in the units of ``x``, > 0.
        shrink: factor on the step size whenever a step did not lower the objective, in (0, 1]; 1 keeps it.

    Source: A. Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, eq. 2.
    Departs: the step size shrinks, for with a fixed one the iterates end up circling the minimum; a step to a
    point without value or gradient is taken back by half.
    """

    step_size: float = 1 / 255
    shrink: float = 0.7

    def __post_init__(self) -> None:
        check_positive("SignGradient", step_size=self.step_size, shrink=self.shrink)
        if self.shrink > 1:
            raise UsageError(f"SignGradient: shrink {self.shrink}: must be at most 1")

    def init(self) -> _SignState:
        return _SignState(step_size=self.step_size)

    def step(self, point: Point, state: _SignState) -> tuple[Tensor, _SignState]:
        base, step_size = state.base, state.step_size
        if not is_sound(point):
            return (point.x if base is None else torch.lerp(base.x, point.x, 0.5)), state
        if base is not None and point.value >= base.value:
            step_size *= self.shrink
        return point.x - step_size * point.gradient.sign(), _SignState(step_size=step_size, base=point)
