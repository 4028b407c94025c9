"""What stands for the stored LR image while solving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor


class Rounding(ABC):
    """What stands for the stored LR image while solving."""

    @abstractmethod
    def stand_in(self, lr: Tensor) -> Tensor:
        """Return the differentiable stand-in of the LR that the receiver decodes, for a sample in [0, 1]."""

    def stored(self, lr: Tensor) -> Tensor:
        """Return what the receiver decodes from the file of an 8-bit LR image; the image itself if it is lossless."""
        return lr


@final
@dataclass(frozen=True)
class Unrounded(Rounding):
    """The sample itself; it is rounded once, at the end."""

    def stand_in(self, lr: Tensor) -> Tensor:
        return lr
