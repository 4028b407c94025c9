"""The driver: projected descent on any differentiable objective, with a history and reasons to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.rules import Point, StepRule

Projection = Callable[[Tensor], Tensor]


class Stopped(Exception):  # noqa: N818 - it is no error
    """Raised by an objective in the middle of an evaluation: the descent ends with what it has."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What a descent returns.

    Attributes:
        x: the kept point, inside the feasible set.
        value: the objective there; NaN where nothing evaluated it, as the last iterate after its step.
        evaluations: gradient evaluations spent.
    """

    x: Tensor
    value: float
    evaluations: int


def descend(
    objective: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    rule: StepRule,
    project: Projection,
    evaluations: int,
    keep: Literal["best", "last"] = "best",
    on_evaluation: Callable[[int, float], bool] | None = None,
) -> Solution:
    """Minimize ``objective`` over the feasible set, from ``project(start)``, with ``evaluations`` gradients.

    Args:
        objective: tensor → scalar tensor, differentiable; may raise :class:`Stopped`.
        start: where to begin, any shape.
        rule: proposes each next candidate.
        project: nearest point of the feasible set; every evaluated and returned point went through it.
        evaluations: gradient evaluations to spend at most, ≥ 0.
        keep: ``best`` returns the best evaluated point; ``last`` the candidate after the last evaluation,
            as schemes with a fixed number of steps do.
        on_evaluation: called with the count of evaluations so far and the value; true ends the descent.

    Raises:
        UsageError: negative number of evaluations, or unknown ``keep``.
    """
    if evaluations < 0:
        raise UsageError(f"evaluations {evaluations}: must be 0 or more")
    if keep not in ("best", "last"):
        raise UsageError(f"keep '{keep}': use best or last")
    x = project(start.detach())
    best_x, best_value = x, math.nan
    state = rule.init()
    spent = 0
    while spent < evaluations:
        try:
            point = _evaluate(objective, x)
        except Stopped:
            break
        spent += 1
        if math.isnan(best_value) or point.value < best_value:
            best_x, best_value = x, point.value
        if on_evaluation is not None and on_evaluation(spent, point.value):
            break
        candidate, state = rule.step(point, state)
        x = project(candidate)
    if keep == "last":
        return Solution(x=x, value=math.nan, evaluations=spent)
    return Solution(x=best_x, value=best_value, evaluations=spent)


def _evaluate(objective: Callable[[Tensor], Tensor], x: Tensor) -> Point:
    with torch.enable_grad():
        variable = x.detach().requires_grad_()
        value = objective(variable)
        (gradient,) = torch.autograd.grad(value, variable)
    return Point(x=x, value=float(value.detach()), gradient=gradient)
