"""The driver: projected descent on any differentiable objective, with a budget and reasons to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.box import Box
from hcd.solver.rules import BudgetSpent, Point, Projection, StepRule

Curvature = Callable[[Tensor, Tensor], Tensor]


class Stopped(Exception):  # noqa: N818 - it is no error
    """Raised by an objective in the middle of an evaluation, or by a rule with nothing to propose: the descent ends."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What a descent returns.

    Attributes:
        x: the kept point, inside the feasible set.
        value: the objective there; NaN where nothing evaluated it, as the last iterate after its step.
        evaluations: spent, gradients and curvature products together.
        candidate: the last proposed point, projected; not evaluated, unless the descent ended before another
            step was taken. The projected start where nothing was evaluated.
    """

    x: Tensor
    value: float
    evaluations: int
    candidate: Tensor


def descend(
    objective: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    rule: StepRule,
    project: Projection,
    evaluations: int,
    keep: Literal["best", "last"] = "best",
    on_evaluation: Callable[[int, float], bool] | None = None,
    curvature: Curvature | None = None,
    box: tuple[Tensor | float, Tensor | float] | None = None,
    tolerance: float = 0.0,
    patience: int = 3,
) -> Solution:
    """Minimize ``objective`` over the feasible set, from ``project(start)``, with ``evaluations`` evaluations.

    Args:
        objective: tensor → scalar tensor, differentiable; may raise :class:`Stopped`.
        start: where to begin, any shape.
        rule: proposes each next candidate.
        project: nearest point of the feasible set; every evaluated and returned point went through it.
        evaluations: gradients and curvature products to spend at most, ≥ 0.
        keep: ``best`` returns the best evaluated point; ``last`` the candidate after the last evaluation,
            as schemes with a fixed number of steps do.
        on_evaluation: called after every gradient with the count of evaluations so far and the value; true ends
            the descent.
        curvature: ``(x, v)`` → product of the objective's curvature at x, such as the (generalized) Gauss–Newton
            matrix, with v; for rules that need it. May raise :class:`Stopped`.
        box: lowest and highest value of every variable, where ``project`` clamps to these; lets rules leave out the
            variables that their bounds hold. None for sets of other shapes.
        tolerance: ends the descent once the best value fell by less than this share of its size over the last
            ``patience`` gradients; 0 never does.
        patience: see there, ≥ 1.

    Raises:
        UsageError: negative number of evaluations or tolerance, patience below 1, unknown ``keep``, or a rule that
            needs curvature without it.
    """
    if evaluations < 0:
        raise UsageError(f"evaluations {evaluations}: must be 0 or more")
    if keep not in ("best", "last"):
        raise UsageError(f"keep '{keep}': use best or last")
    if not tolerance >= 0 or patience < 1:
        raise UsageError(f"tolerance {tolerance}, patience {patience}: must be 0 or more, and at least 1")
    if rule.needs_curvature and curvature is None:
        raise UsageError(
            f"{type(rule).__name__}: needs products with the curvature; give curvature=…, or take a rule that needs "
            "gradients only, such as LBFGS()"
        )
    x = project(start.detach())
    best_x, best_value = x, math.nan
    best_values: list[float] = []
    state = rule.init()
    problem = _Problem(
        objective=objective,
        project=project,
        curvature=curvature,
        box=None if box is None else Box.of(*box, like=x),
        budget=evaluations,
    )
    while problem.left > 0:
        try:
            point = problem.evaluate(x)
            if math.isnan(best_value) or point.value < best_value:
                best_x, best_value = x, point.value
            best_values.append(best_value)
            if on_evaluation is not None and on_evaluation(problem.spent, point.value):
                break
            if tolerance > 0 and _has_stalled(best_values, tolerance, patience):
                break
            candidate, state = rule.step(point, state)
        except Stopped:
            break
        x = project(candidate)
    if keep == "last":
        return Solution(x=x, value=math.nan, evaluations=problem.spent, candidate=x)
    return Solution(x=best_x, value=best_value, evaluations=problem.spent, candidate=x)


def _has_stalled(best_values: list[float], tolerance: float, patience: int) -> bool:
    if len(best_values) <= patience:
        return False
    before, now = best_values[-1 - patience], best_values[-1]
    return before - now < tolerance * abs(now)


@final
@dataclass(kw_only=True)
class _Problem:
    """The problem as rules see it, with the count of what was spent on it."""

    objective: Callable[[Tensor], Tensor]
    project: Projection
    curvature: Curvature | None
    box: Box | None
    budget: int
    spent: int = field(default=0, init=False)

    @property
    def left(self) -> int:
        return self.budget - self.spent

    def evaluate(self, x: Tensor) -> Point:
        with torch.enable_grad():
            variable = x.detach().requires_grad_()
            value = self.objective(variable)
            (gradient,) = torch.autograd.grad(value, variable)
        self.spent += 1
        return Point(
            x=x,
            value=float(value.detach()),
            gradient=gradient,
            free=None if self.box is None else self.box.free(x, gradient),
            project=self.project,
            product=None if self.curvature is None else self._product_at(x, self.curvature),
        )

    def _product_at(self, x: Tensor, curvature: Curvature) -> Callable[[Tensor], Tensor]:
        def product(direction: Tensor) -> Tensor:
            # The last evaluation is kept for the candidate that comes of the products.
            if self.left <= 1:
                raise BudgetSpent
            image = curvature(x, direction).detach()
            self.spent += 1
            return image

        return product
