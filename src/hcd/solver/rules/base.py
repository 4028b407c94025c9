"""The contract of step rules: an evaluated point in, the next candidate out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hcd.errors import UsageError

Projection = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Point:
    """An evaluated point: position, objective value and gradient there.

    Attributes:
        x: position, inside the feasible set.
        value, gradient: value and gradient of the objective at ``x``.
        free: mask that is False for variables on a bound whose gradient pushes them outward, so that no descent
            step can move them; None if all are free or the bounds are unknown.
        project: projection onto the feasible set, for rules that form intermediate points; None if unconstrained.
    """

    x: Tensor
    value: float
    gradient: Tensor
    free: Tensor | None = None
    project: Projection | None = None


class StepRule(ABC):
    """Proposes the next candidate; the driver projects it onto the feasible set and evaluates it.

    A rule is frozen and keeps its state beside it. It modifies neither the point nor the state that it is given.
    """

    @abstractmethod
    def init(self) -> Any:
        """Return the state before the first step."""

    @abstractmethod
    def step(self, point: Point, state: Any) -> tuple[Tensor, Any]:
        """Return the next candidate, not yet projected, and the new state."""


def check_positive(rule: str, **settings: float) -> None:
    """Raise UsageError unless every setting is greater than 0; NaN is not."""
    for name, value in settings.items():
        if not value > 0:
            raise UsageError(f"{rule}: {name} {value}: must be greater than 0")


def check_share(rule: str, **settings: float) -> None:
    """Raise UsageError unless every setting is in [0, 1)."""
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise UsageError(f"{rule}: {name} {value}: must be at least 0 and below 1")
