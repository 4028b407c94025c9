"""Step rules: from one evaluated point to the next candidate. A rule is frozen; its state travels beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from hcd.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Point:
    """An evaluated point: position, objective value and gradient there."""

    x: Tensor
    value: float
    gradient: Tensor


class StepRule(ABC):
    """Proposes the next candidate; the driver projects it onto the feasible set and evaluates it."""

    @abstractmethod
    def init(self) -> Any:
        """The state before the first step."""

    @abstractmethod
    def step(self, point: Point, state: Any) -> tuple[Tensor, Any]:
        """The next candidate, not yet projected, and the new state."""


@final
@dataclass(frozen=True, kw_only=True)
class NormalizedGradient(StepRule):
    """A step of fixed length against the gradient: ``x − step_size · g / ‖g‖₂``, norm over the whole tensor.

    Args:
        step_size: Euclidean length of the step, in the units of ``x``, > 0.

    Source: Xu et al., "Hierarchical Collaborative Downscaling", ICCV 2023 (arXiv 2211.10643), algorithm 1.
    """

    step_size: float = 20 / 255

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise UsageError(f"step_size {self.step_size}: must be greater than 0")

    def init(self) -> None:
        return None

    def step(self, point: Point, state: None) -> tuple[Tensor, None]:
        length = torch.linalg.vector_norm(point.gradient)
        if length == 0:
            return point.x, None
        return point.x - self.step_size / length * point.gradient, None


@dataclass(frozen=True)
class _LBFGSState:
    base: Point | None = None
    pairs: tuple[tuple[Tensor, Tensor], ...] = field(default=())


@final
@dataclass(frozen=True, kw_only=True)
class LBFGS(StepRule):
    """Limited-memory BFGS with a capped step; a step that raised the objective is taken back and shortened.

    The direction is the two-loop recursion over the last ``memory`` pairs of moves and gradient
    changes; pairs without positive curvature are left out. A candidate that is worse than its base is
    replaced by the minimizer of the parabola through base value, base slope and candidate value, between
    a tenth and a half of the way. No line search: every evaluation is a step or a correction.

    Args:
        first_step: largest change of an element in the very first step, > 0.
        max_step: largest change of an element in any step, > 0.
        memory: pairs kept, ≥ 1.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd ed., algorithms 7.4 and 3.5 (interpolation).
    """

    first_step: float = 4 / 255
    max_step: float = 6 / 255
    memory: int = 10

    def __post_init__(self) -> None:
        if not (self.first_step > 0 and self.max_step > 0 and self.memory >= 1):
            raise UsageError("LBFGS: first_step and max_step must be greater than 0, memory at least 1")

    def init(self) -> _LBFGSState:
        return _LBFGSState()

    def step(self, point: Point, state: _LBFGSState) -> tuple[Tensor, _LBFGSState]:
        base, pairs = state.base, state.pairs
        if base is not None:
            move, change = point.x - base.x, point.gradient - base.gradient
            curvature = _dot(move, change)
            if curvature > 1e-10 * _dot(move, move) ** 0.5 * _dot(change, change) ** 0.5:
                pairs = (*pairs, (move, change))[-self.memory :]
            # "not ≤" rather than ">": a NaN is a bad step too.
            if not point.value <= base.value:
                return base.x + _shortened(base, move, point.value) * move, _LBFGSState(base, pairs)
        direction = self._direction(point.gradient, pairs)
        if _dot(direction, point.gradient) >= 0:
            pairs = ()
            direction = self._direction(point.gradient, pairs)
        return point.x + direction, _LBFGSState(point, pairs)

    def _direction(self, gradient: Tensor, pairs: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
        if not pairs:
            steepest = float(gradient.abs().max())
            return gradient * (-self.first_step / steepest) if steepest > 0 else -gradient
        direction = -gradient
        weights: list[float] = []
        for move, change in reversed(pairs):
            weight = _dot(move, direction) / _dot(move, change)
            weights.append(weight)
            direction = direction - weight * change
        move, change = pairs[-1]
        direction = direction * (_dot(move, change) / _dot(change, change))
        for (move, change), weight in zip(pairs, reversed(weights), strict=True):
            direction = direction + (weight - _dot(change, direction) / _dot(move, change)) * move
        largest = float(direction.abs().max())
        return direction * min(1.0, self.max_step / largest) if largest > 0 else direction


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum())


def _shortened(base: Point, move: Tensor, value: float) -> float:
    """Share of ``move`` at which the interpolating parabola is lowest, held in [0.1, 0.5]."""
    slope = _dot(base.gradient, move)
    bend = value - base.value - slope
    return min(0.5, max(0.1, -slope / (2 * bend))) if bend > 0 else 0.5
