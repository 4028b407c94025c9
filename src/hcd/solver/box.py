"""The box that a feasible set may be, and which variables its bounds hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, kw_only=True)
class Box:
    """Bounds of every variable, and how close to one of them counts as on it.

    Attributes:
        low, high: tensors of the variables' shape, or of no dimension.
        slack: room for the rounding of a projection that reaches the bounds as center plus perturbation.
    """

    low: Tensor
    high: Tensor
    slack: float

    @classmethod
    def of(cls, low: Tensor | float, high: Tensor | float, like: Tensor) -> Self:
        low, high = (torch.as_tensor(bound).to(like) for bound in (low, high))
        sizes = [float(bound[bound.isfinite()].abs().max()) for bound in (low, high) if bound.isfinite().any()]
        return cls(low=low, high=high, slack=4 * torch.finfo(like.dtype).eps * max(sizes, default=0.0))

    def free(self, x: Tensor, gradient: Tensor) -> Tensor | None:
        """False where a variable is on a bound and its gradient pushes it further out; None if nowhere."""
        held_low = (x <= self.low + self.slack) & (gradient > 0)
        held_high = (x >= self.high - self.slack) & (gradient < 0)
        held = held_low | held_high
        return ~held if bool(held.any()) else None
