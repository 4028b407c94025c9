"""Terms that are added to the loss and depend on the LR image alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor


class Penalty(ABC):
    """A term added to the loss that depends on the LR image alone."""

    @abstractmethod
    def bind(self, *, hr: Tensor, plain_lr: Tensor, scale: int) -> Callable[[Tensor], Tensor]:
        """Return the penalty of one image: LR ``[1, 3, h, w]`` → scalar tensor, differentiable."""
