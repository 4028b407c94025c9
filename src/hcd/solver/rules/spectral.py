"""Spectral projected gradient: steepest descent with the step length that the last move's curvature suggests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.rules.base import Point, StepRule, check_positive
from hcd.solver.rules.moves import capped, dot, is_bad_step, is_sound, masked, steepest, way_back


@dataclass(frozen=True, kw_only=True)
class _SpectralState:
    """The point that the last step started from, the values of the last such points, failed steps from it."""

    base: Point | None = None
    values: tuple[float, ...] = ()
    failures: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class BarzilaiBorwein(StepRule):
    """Projected gradient steps whose length is the inverse curvature along the last move.

    With the move s and the gradient change y, the step is ``s·s / s·y``, or the shorter ``s·y / y·y`` where the two
    differ so much that the long one would mainly excite stiff directions. The value may rise for a while; a
    candidate above the highest of the last ``window`` values is taken back and shortened by interpolation, and
    after some failures in a row a small steepest descent step from the base follows. No line search: every
    evaluation is a step or a correction.

    Args:
        first_step: largest change of an element in the very first step, > 0.
        max_step: largest change of an element in any step, > 0.
        window: accepted values with which a new one is compared, ≥ 1; 1 allows no rise.
        ratio: the short step is taken where it is less than this share of the long one, in [0, 1].

    Source: J. Barzilai and J. Borwein, "Two-point step size gradient methods", IMA J. Numer. Anal. 1988, eq. 5
    and 6; E. Birgin, J. Martínez, M. Raydan, "Nonmonotone spectral projected gradient methods on convex sets",
    SIAM J. Optim. 2000, algorithm 2.2; B. Zhou, L. Gao, Y.-H. Dai, "Gradient methods with adaptive step-sizes",
    Comput. Optim. Appl. 2006, eq. 2.3 (which of the two steps).
    Departs: steps are capped per element, and acceptance asks for no sufficient decrease.
    """

    first_step: float = 4 / 255
    max_step: float = 6 / 255
    window: int = 4
    ratio: float = 0.15

    def __post_init__(self) -> None:
        check_positive("BarzilaiBorwein", first_step=self.first_step, max_step=self.max_step)
        if not (self.window >= 1 and 0 <= self.ratio <= 1):
            raise UsageError(
                f"BarzilaiBorwein: window {self.window}, ratio {self.ratio}: must be at least 1, and in [0, 1]"
            )

    def init(self) -> _SpectralState:
        return _SpectralState()

    def step(self, point: Point, state: _SpectralState) -> tuple[Tensor, _SpectralState]:
        base = state.base
        if base is None or not is_sound(base):
            return point.x + steepest(point, self.first_step), _SpectralState(base=point, values=(point.value,))
        if is_bad_step(point, base, max(state.values)):
            candidate, failures = way_back(base, point, state.failures, self.first_step)
            return candidate, _SpectralState(base=base, values=state.values, failures=failures)
        values = (*state.values, point.value)[-self.window :]
        return point.x + self._move(point, base), _SpectralState(base=point, values=values)

    def _move(self, point: Point, base: Point) -> Tensor:
        move = point.x - base.x
        change = masked(point.gradient - base.gradient, point.free)
        curvature = dot(move, change)
        gradient = masked(point.gradient, point.free)
        if not curvature > 0:
            return steepest(point, self.max_step)
        long, short = dot(move, move) / curvature, curvature / dot(change, change)
        return capped(gradient * -(short if short < self.ratio * long else long), self.max_step)
