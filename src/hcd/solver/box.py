"""Box constraints: which variables their bounds hold in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, kw_only=True)
class Box:
    """Lower and upper bounds of every variable.

    Attributes:
        low, high: tensors of the variables' shape, or scalar tensors.
        slack: distance within which a variable counts as on its bound. Projections that compute center plus
            perturbation reach the bounds up to rounding only.
    """

    low: Tensor
    high: Tensor
    slack: float

    @classmethod
    def of(cls, low: Tensor | float, high: Tensor | float, like: Tensor) -> Self:
        """Return the box of these bounds, in dtype and on the device of ``like``."""
        low, high = (torch.as_tensor(bound).to(like) for bound in (low, high))
        sizes = [float(bound[bound.isfinite()].abs().max()) for bound in (low, high) if bound.isfinite().any()]
        return cls(low=low, high=high, slack=4 * torch.finfo(like.dtype).eps * max(sizes, default=0.0))

    def free(self, x: Tensor, gradient: Tensor) -> Tensor | None:
        """Return a mask that is False where a bound holds a variable against its descent direction; None if nowhere."""
        held_low = (x <= self.low + self.slack) & (gradient > 0)
        held_high = (x >= self.high - self.slack) & (gradient < 0)
        held = held_low | held_high
        return ~held if bool(held.any()) else None
