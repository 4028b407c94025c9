"""Nonlinear conjugate gradients that interpolate line minimizers instead of searching for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from hcd.solver.rules.base import Point, StepRule, check_positive
from hcd.solver.rules.moves import capped, dot, is_bad_step, is_sound, masked, recover, steepest


@dataclass(frozen=True, kw_only=True)
class _ConjugateState:
    """The best evaluated point, start of the current line and gradient there, consecutive failures."""

    best: Point
    x: Tensor
    gradient: Tensor
    failures: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class ConjugateGradient(StepRule):
    """Polak–Ribière+ directions; one evaluation along each line locates its minimizer.

    The trial step along a direction d uses the curvature κ of the previous move, ``−g·d / (κ d·d)``. The gradient
    change y over the trial step s gives the curvature of the line, so the secant minimizer lies at the share
    ``−g·s / s·y`` of s, and the gradient there is interpolated. The next line starts at that minimizer without
    evaluating it, with β = ``g·y / s·y``, at least 0 (Polak–Ribière's β if minimizers are exact). On a quadratic these
    are exact conjugate gradients at one evaluation each. A trial that is worse than the best point is shortened. After
    several consecutive failures a small steepest descent step from the best point follows.

    Args:
        first_step: largest change of an element in the very first step, > 0.
        max_step: largest change of an element in any step, > 0.
        reach: largest extrapolation to a line's minimizer, in lengths of the trial step, > 0.

    Source: E. Polak and G. Ribière, "Note sur la convergence de méthodes de directions conjuguées", 1969, in the
    form of J. Nocedal and S. Wright, "Numerical Optimization", 2nd ed., eq. 5.45 (PR+) and 5.46.
    Departs: no line search, see above; variables held by their bounds are excluded.
    """

    first_step: float = 4 / 255
    max_step: float = 6 / 255
    reach: float = 3.0

    def __post_init__(self) -> None:
        check_positive("ConjugateGradient", first_step=self.first_step, max_step=self.max_step, reach=self.reach)

    def init(self) -> _ConjugateState | None:
        return None

    def step(self, point: Point, state: _ConjugateState | None) -> tuple[Tensor, _ConjugateState | None]:
        if state is None or not is_sound(state.best):
            return self._from(point, self.first_step)
        best = state.best
        if is_bad_step(point, best, best.value):
            candidate, failures = recover(best, point, state.failures, self.first_step)
            return candidate, _ConjugateState(best=best, x=best.x, gradient=best.gradient, failures=failures)
        return self._next_line(point, state)

    def _from(self, point: Point, size: float) -> tuple[Tensor, _ConjugateState]:
        state = _ConjugateState(best=point, x=point.x, gradient=point.gradient)
        return point.x + steepest(point, size), state

    def _next_line(self, point: Point, state: _ConjugateState) -> tuple[Tensor, _ConjugateState]:
        move = masked(point.x - state.x, point.free)
        change = masked(point.gradient - state.gradient, point.free)
        bend = dot(move, change)
        if not bend > 0:
            return self._from(point, self.max_step)
        slope = dot(state.gradient, move)
        share = min(self.reach, -slope / bend) if slope < 0 else 1.0
        start = point.x + (share - 1) * move
        if share > 1 and point.project is not None:
            start = point.project(start)
        gradient = masked(point.gradient, point.free) + (share - 1) * change
        direction = max(0.0, dot(gradient, change) / bend) * move - gradient
        descent = dot(gradient, direction)
        if not descent < 0:
            direction, descent = -gradient, -dot(gradient, gradient)
        length = dot(direction, direction) * bend / dot(move, move)
        trial = direction * (-descent / length) if length > 0 else direction
        candidate = point.x + capped(start - point.x + trial, self.max_step)
        return candidate, _ConjugateState(best=point, x=start, gradient=gradient)
