"""Truncated Gauss–Newton: inner conjugate gradients on products with the curvature, damped."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.rules.base import BudgetSpent, Point, StepRule, check_positive, check_share
from hcd.solver.rules.moves import dot, is_bad_step, masked, steepest, way_back


@dataclass(frozen=True, kw_only=True)
class _GaussNewtonState:
    """The base of the last step, the model's curvature along that step, the damping, failed steps in a row."""

    damping: float
    base: Point | None = None
    curvature: float = math.nan
    failures: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class GaussNewton(StepRule):
    """Minimizes ``g·p + ½ p·(B + λ) p`` by a few conjugate gradient iterations, B the curvature at the point.

    The iterations end at the tolerance, at their number, where curvature is negative or an element of p reaches
    ``max_step`` (then on that bound), or when the budget is spent. λ follows the ratio of actual to predicted
    decrease. A bad step is taken back and shortened by interpolation; after some failures in a row a small
    steepest descent step from the base follows.

    Needs ``Point.product``, hence ``curvature`` in :func:`hcd.solver.descend`; every product counts as an
    evaluation.

    Args:
        inner: products per step, at most, ≥ 1.
        tolerance: the inner iterations end once the residual has fallen to this share, in [0, 1).
        damping: first λ, relative to the curvature along the gradient, ≥ 0; adapted from then on.
        first_step: largest change of an element in a step for which no product was left, > 0.
        max_step: largest change of an element in any step, > 0.

    Source: T. Steihaug, "The conjugate gradient method and trust regions in large scale optimization", SIAM J.
    Numer. Anal. 1983, section 2; D. Marquardt, "An algorithm for least-squares estimation of nonlinear
    parameters", J. SIAM 1963; J. Martens, "Deep learning via Hessian-free optimization", ICML 2010, section 4.1
    (damping by the decrease ratio).
    Departs: the trust region is a box of fixed size; variables held by their bounds take no part.
    """

    needs_curvature: ClassVar[bool] = True

    inner: int = 3
    tolerance: float = 0.1
    damping: float = 0.01
    first_step: float = 4 / 255
    max_step: float = 16 / 255

    def __post_init__(self) -> None:
        check_positive("GaussNewton", inner=self.inner, first_step=self.first_step, max_step=self.max_step)
        check_share("GaussNewton", tolerance=self.tolerance)
        if not 0 <= self.damping < math.inf:
            raise UsageError(f"GaussNewton: damping {self.damping}: must be 0 or more")

    def init(self) -> _GaussNewtonState:
        return _GaussNewtonState(damping=self.damping)

    def step(self, point: Point, state: _GaussNewtonState) -> tuple[Tensor, _GaussNewtonState]:
        if point.product is None:
            raise UsageError(
                "GaussNewton: no curvature given; give curvature=… to descend, or take a rule that needs gradients "
                "only, such as LBFGS()"
            )
        base, damping = state.base, state.damping
        if base is not None:
            if is_bad_step(point, base, base.value):
                raised = damping if state.failures else damping * 4
                candidate, failures = way_back(base, point, state.failures, self.first_step)
                return candidate, replace(state, damping=raised, failures=failures)
            damping = _adapted(damping, _ratio(point, state, base))
        step, curvature = self._solve(point, damping)
        return point.x + step, _GaussNewtonState(damping=damping, base=point, curvature=curvature)

    def _solve(self, point: Point, damping: float) -> tuple[Tensor, float]:
        """The step, and the model's curvature along it without the damping; NaN where no product was left."""
        residual = -masked(point.gradient, point.free)
        size = first = dot(residual, residual)
        # Also where it is no number.
        if not 0 < first < math.inf:
            return torch.zeros_like(point.x), math.nan
        step, image = torch.zeros_like(residual), torch.zeros_like(residual)
        direction, shift, products = residual, math.nan, 0
        while products < self.inner and size > self.tolerance**2 * first:
            product = self._product(point, direction)
            if product is None:
                break
            products += 1
            square, bend = dot(direction, direction), dot(direction, product)
            if products == 1:
                shift = damping * max(bend, 0.0) / square
            bend += shift * square
            length = size / bend if bend > 0 else math.inf
            room = _room(step, direction, self.max_step)
            # "not <" rather than "≥": a product that is no number ends the iterations on the bound too.
            if not length < room:
                length = room if math.isfinite(bend) else 0.0
                step, image = step + length * direction, image + length * product
                break
            step, image = step + length * direction, image + length * product
            residual = residual - length * (product + shift * direction)
            before, size = size, dot(residual, residual)
            direction = residual + size / before * direction
        moved = dot(step, step)
        if moved == 0:
            return steepest(point, self.first_step), math.nan
        return step, dot(step, image) / moved

    def _product(self, point: Point, direction: Tensor) -> Tensor | None:
        if point.product is None:
            return None
        try:
            return masked(point.product(direction), point.free)
        except BudgetSpent:
            return None


def _room(step: Tensor, direction: Tensor, bound: float) -> float:
    """How far ``step`` can go along ``direction`` before an element reaches ±``bound``."""
    # Where the direction is zero this is infinite, and inf − … never the least.
    return float(((bound - step * direction.sign()) / direction.abs()).amin())


def _ratio(point: Point, state: _GaussNewtonState, base: Point) -> float:
    """Actual over predicted decrease; NaN where nothing was predicted."""
    if state.failures:
        return math.nan
    # Projection may have cut the step, so the prediction is for the move that was made.
    move = point.x - base.x
    predicted = -dot(base.gradient, move) - state.curvature * dot(move, move) / 2
    return (base.value - point.value) / predicted if predicted > 0 else math.nan


def _adapted(damping: float, ratio: float) -> float:
    if ratio > 0.75:
        return damping / 3
    return damping * 2 if ratio < 0.25 else damping
