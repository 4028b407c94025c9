"""Accelerated gradient: momentum that restarts when the value rises, step from a running curvature estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.rules.base import Point, StepRule, check_positive
from hcd.solver.rules.moves import capped, is_bad_step, is_sound, largest, masked


@dataclass(frozen=True, kw_only=True)
class _NesterovState:
    """The last good point, the gradient step before the momentum was added, the step length, the momentum's t."""

    base: Point
    anchor: Tensor
    length: float
    measured: bool = False
    t: float = 1.0


@final
@dataclass(frozen=True, kw_only=True)
class Nesterov(StepRule):
    """Gradient steps from points extrapolated along the last move, ever further until the value rises.

    ``x⁺ = P(z − g(z) / L)``, next ``z = x⁺ + (t − 1) / t⁺ · (x⁺ − x)``. L is the largest ratio of gradient change to
    move that was measured lately. A candidate worse than the one before is taken back, and the momentum
    restarts from there; where there was no momentum, the step is halved.

    Args:
        first_step: largest change of an element in the very first step, > 0.
        max_step: largest change of an element in any step, > 0.
        growth: how much longer a step may be than the one before, ≥ 1.

    Source: A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J. Imaging Sci. 2009,
    eq. 4.1–4.3; B. O'Donoghue and E. Candès, "Adaptive restart for accelerated gradient schemes", Found. Comput.
    Math. 2015, section 3.2 (function scheme); Y. Malitsky and K. Mishchenko, "Adaptive gradient descent without
    descent", ICML 2020, algorithm 1 (step from measured curvature).
    Departs: values are those of the extrapolated points, the only ones that are evaluated.
    """

    first_step: float = 4 / 255
    max_step: float = 6 / 255
    growth: float = 1.1

    def __post_init__(self) -> None:
        check_positive("Nesterov", first_step=self.first_step, max_step=self.max_step)
        if not self.growth >= 1:
            raise UsageError(f"Nesterov: growth {self.growth}: must be at least 1")

    def init(self) -> _NesterovState | None:
        return None

    def step(self, point: Point, state: _NesterovState | None) -> tuple[Tensor, _NesterovState | None]:
        if state is None or not is_sound(state.base):
            slope = largest(masked(point.gradient, point.free)) if is_sound(point) else 0.0
            if slope == 0:
                return point.x, None
            return self._propose(_NesterovState(base=point, anchor=point.x, length=self.first_step / slope))
        length, measured = self._length(point, state)
        if is_bad_step(point, state.base, state.base.value):
            if state.t <= _AFTER_RESTART:
                length = min(length, state.length / 2)
            base = state.base
            return self._propose(_NesterovState(base=base, anchor=base.x, length=length, measured=measured))
        return self._propose(
            _NesterovState(base=point, anchor=state.anchor, length=length, measured=measured, t=state.t)
        )

    def _length(self, point: Point, state: _NesterovState) -> tuple[float, bool]:
        """The inverse of the curvature estimate, and whether any curvature was measured yet."""
        move = float((point.x - state.base.x).norm())
        change = float((point.gradient - state.base.gradient).norm())
        if not (move > 0 and change > 0 and math.isfinite(change)):
            return state.length, state.measured
        inverse = move / change
        # The very first length is a guess, which no measured one is held to.
        return (min(inverse, self.growth * state.length) if state.measured else inverse), True

    def _propose(self, state: _NesterovState) -> tuple[Tensor, _NesterovState]:
        base = state.base
        step = capped(masked(base.gradient, base.free) * -state.length, self.max_step)
        anchor = base.x + step
        if base.project is not None:
            anchor = base.project(anchor)
        t = (1 + math.sqrt(1 + 4 * state.t**2)) / 2
        ahead = anchor + (state.t - 1) / t * (anchor - state.anchor)
        candidate = base.x + capped(ahead - base.x, self.max_step)
        return candidate, _NesterovState(base=base, anchor=anchor, length=state.length, measured=state.measured, t=t)


# t after the step that follows a restart, with some room for rounding: that step had no momentum.
_AFTER_RESTART = (1 + math.sqrt(5)) / 2 + 1e-9
