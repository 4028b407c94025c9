"""The driver: projected descent on a differentiable objective, with a budget and reasons to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.box import Box
from hcd.solver.rules import Point, Projection, StepRule


class Stopped(Exception):  # noqa: N818 - not an error
    """Raised by an objective in the middle of an evaluation to end the descent.

    Args:
        reason: what :attr:`Solution.stopped` will say.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The result of a descent.

    Attributes:
        x: the point that is kept, inside the feasible set.
        value: the objective at ``x``; NaN if it was not evaluated there, as with ``keep="last"``.
        evaluations: gradient evaluations spent.
        candidate: the last proposed point, projected. It is not evaluated unless the descent stopped before another
            step was taken. Without evaluations it is the projected start.
        stopped: ``evaluations`` if the budget was spent, ``tolerance`` if the value no longer fell, else the reason
            that ``on_evaluation`` or :class:`Stopped` gave.
    """

    x: Tensor
    value: float
    evaluations: int
    candidate: Tensor
    stopped: str


def descend(
    objective: Callable[[Tensor], Tensor | tuple[Tensor, Any]],
    start: Tensor,
    *,
    rule: StepRule,
    project: Projection,
    evaluations: int,
    keep: Literal["best", "last"] = "best",
    on_evaluation: Callable[[int, float, Any], str | None] | None = None,
    box: tuple[Tensor | float, Tensor | float] | None = None,
    tolerance: float = 0.0,
    patience: int = 3,
) -> Solution:
    """Minimize ``objective`` over a feasible set, starting from ``project(start)``.

    Args:
        objective: differentiable function, tensor → scalar tensor, or a pair of that and anything else that
            ``on_evaluation`` is to get; may raise :class:`Stopped`.
        start: initial point, any shape.
        rule: proposes each next candidate.
        project: projection onto the feasible set; every point that is evaluated or returned has passed through it.
        evaluations: budget of gradient evaluations, ≥ 0.
        keep: ``best`` returns the best evaluated point; ``last`` returns the candidate after the last evaluation, as
            schemes with a fixed number of steps do.
        on_evaluation: called after every gradient evaluation with the number of evaluations so far, the value, and
            what the objective returned beside it (else None). Returns the reason to stop, or None to go on.
        box: lower and upper bound of every variable, if ``project`` clamps to these. Rules then leave out variables
            that are held by a bound. None for feasible sets of other shapes.
        tolerance: stop if the best value fell by less than this share of itself over the last ``patience``
            evaluations; 0 never stops.
        patience: evaluations over which ``tolerance`` is measured, ≥ 1.

    Raises:
        UsageError: negative budget or tolerance, patience below 1, or unknown ``keep``.
    """
    if evaluations < 0:
        raise UsageError(f"evaluations {evaluations}: must be 0 or more")
    if keep not in ("best", "last"):
        raise UsageError(f"keep '{keep}': use best or last")
    if not tolerance >= 0 or patience < 1:
        raise UsageError(f"tolerance {tolerance}, patience {patience}: must be 0 or more, and at least 1")
    x = project(start.detach())
    bounds = None if box is None else Box.of(*box, like=x)
    best_x, best_value = x, math.nan
    best_values: list[float] = []
    state = rule.init()
    stopped = "evaluations"
    while len(best_values) < evaluations:
        try:
            point, beside = _evaluate(objective, x, bounds, project)
        except Stopped as stop:
            stopped = stop.reason
            break
        if math.isnan(best_value) or point.value < best_value:
            best_x, best_value = x, point.value
        best_values.append(best_value)
        reason = None if on_evaluation is None else on_evaluation(len(best_values), point.value, beside)
        if reason is None and tolerance > 0 and _has_stalled(best_values, tolerance, patience):
            reason = "tolerance"
        if reason is not None:
            stopped = reason
            break
        candidate, state = rule.step(point, state)
        x = project(candidate)
    kept, value = (x, math.nan) if keep == "last" else (best_x, best_value)
    return Solution(x=kept, value=value, evaluations=len(best_values), candidate=x, stopped=stopped)


def _evaluate(
    objective: Callable[[Tensor], Tensor | tuple[Tensor, Any]], x: Tensor, bounds: Box | None, project: Projection
) -> tuple[Point, Any]:
    with torch.enable_grad():
        variable = x.detach().requires_grad_()
        result = objective(variable)
        value, beside = result if isinstance(result, tuple) else (result, None)
        (gradient,) = torch.autograd.grad(value, variable)
    free = None if bounds is None else bounds.free(x, gradient)
    point = Point(x=x, value=float(value.detach()), gradient=gradient, free=free, project=project)
    return point, beside


def _has_stalled(best_values: list[float], tolerance: float, patience: int) -> bool:
    if len(best_values) <= patience:
        return False
    before, now = best_values[-1 - patience], best_values[-1]
    return before - now < tolerance * abs(now)
