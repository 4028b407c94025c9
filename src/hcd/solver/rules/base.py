"""What every step rule shares: the evaluated point that it is given and the contract that it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from hcd.errors import UsageError

Projection = Callable[[Tensor], Tensor]


class BudgetSpent(Exception):  # noqa: N818 - it is no error
    """Raised by ``Point.product`` when nothing is left beyond the evaluation of the next candidate.

    A rule catches it and proposes the best candidate that it can make from the products it has.
    """


@dataclass(frozen=True, kw_only=True)
class Point:
    """An evaluated point: position, objective value and gradient there.

    Attributes:
        x: position, inside the feasible set.
        value, gradient: of the objective at ``x``.
        free: false for variables that sit on a bound and whose gradient pushes them further out, so that no
            descent can move them; None where all are free or the bounds are unknown.
        project: nearest point of the feasible set, for rules that form intermediate points; None means everywhere.
        product: the curvature of the objective at ``x`` times a direction. It costs an evaluation, counted by the
            driver, and raises :class:`BudgetSpent` instead of going beyond the budget; None where the problem
            gives no curvature.
    """

    x: Tensor
    value: float
    gradient: Tensor
    free: Tensor | None = None
    project: Projection | None = None
    product: Callable[[Tensor], Tensor] | None = None


class StepRule(ABC):
    """Proposes the next candidate; the driver projects it onto the feasible set and evaluates it.

    A rule is frozen, its state travels beside it, and neither the point nor the state it is given is changed.
    """

    needs_curvature: ClassVar[bool] = False
    """Whether ``Point.product`` must be given."""

    @abstractmethod
    def init(self) -> Any:
        """The state before the first step."""

    @abstractmethod
    def step(self, point: Point, state: Any) -> tuple[Tensor, Any]:
        """The next candidate, not yet projected, and the new state."""


def check_positive(rule: str, **settings: float) -> None:
    """Refuse settings of a rule that are not greater than 0, NaN among them."""
    for name, value in settings.items():
        if not value > 0:
            raise UsageError(f"{rule}: {name} {value}: must be greater than 0")


def check_share(rule: str, **settings: float) -> None:
    """Refuse settings of a rule that are not in [0, 1)."""
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise UsageError(f"{rule}: {name} {value}: must be at least 0 and below 1")
