"""Limited-memory BFGS: a Newton-like direction from the last moves and gradient changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.rules.base import Point, StepRule
from hcd.solver.rules.moves import TRIES, capped, dot, is_bad_step, masked, steepest, way_back


@dataclass(frozen=True)
class _LBFGSState:
    base: Point | None = None
    pairs: tuple[tuple[Tensor, Tensor], ...] = field(default=())
    failures: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class LBFGS(StepRule):
    """Limited-memory BFGS with a capped step; a step that raised the objective is taken back and shortened.

    The direction is the two-loop recursion over the last ``memory`` pairs of moves and gradient
    changes; pairs without positive curvature are left out. Variables held by their bounds take no part in it:
    gradient and pairs are restricted to the free ones, so that the direction is a quasi-Newton one within the
    face of the feasible set. A candidate that is worse than its base is replaced by the minimizer of the parabola
    through base value, base slope and candidate value, between a tenth and a half of the way; after some
    failures in a row the pairs are dropped and a small steepest descent step from the base follows. No line
    search: every evaluation is a step or a correction.

    Args:
        first_step: largest change of an element in the very first step, > 0.
        max_step: largest change of an element in any step, > 0.
        memory: pairs kept, ≥ 1.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd ed., algorithms 7.4 and 3.5 (interpolation);
    D. Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM J. Control
    Optim. 1982, section 2 (free variables).
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
            if _is_positive(dot(move, change), move, change):
                pairs = (*pairs, (move, change))[-self.memory :]
            if is_bad_step(point, base, base.value):
                candidate, failures = way_back(base, point, state.failures, self.first_step)
                return candidate, _LBFGSState(base, pairs if failures % TRIES else (), failures)
        direction = self._direction(point, pairs)
        # "not <" rather than "≥": a direction that is no number descends nowhere either.
        if pairs and not dot(direction, point.gradient) < 0:
            pairs = ()
            direction = self._direction(point, pairs)
        return point.x + direction, _LBFGSState(point, pairs)

    def _direction(self, point: Point, pairs: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
        free = point.free
        # The direction is zero where variables are held, so only products of move and change need the mask.
        curvatures = [dot(move, masked(change, free)) for move, change in pairs]
        if free is not None:
            kept = [
                (pair, curvature)
                for pair, curvature in zip(pairs, curvatures, strict=True)
                if _is_positive(curvature, *(masked(part, free) for part in pair))
            ]
            pairs, curvatures = tuple(pair for pair, _ in kept), [curvature for _, curvature in kept]
        if not pairs:
            return steepest(point, self.first_step)
        direction = -masked(point.gradient, free)
        weights: list[float] = []
        for (move, change), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
            weight = dot(move, direction) / curvature
            weights.append(weight)
            direction = direction - weight * masked(change, free)
        newest = masked(pairs[-1][1], free)
        direction = direction * (curvatures[-1] / dot(newest, newest))
        for (move, change), curvature, weight in zip(pairs, curvatures, reversed(weights), strict=True):
            direction = direction + (weight - dot(change, direction) / curvature) * masked(move, free)
        return capped(direction, self.max_step)


def _is_positive(curvature: float, move: Tensor, change: Tensor) -> bool:
    """Whether the curvature along a move is positive beyond rounding; that of points without numbers is not."""
    return bool(curvature > 1e-10 * dot(move, move) ** 0.5 * dot(change, change) ** 0.5)
