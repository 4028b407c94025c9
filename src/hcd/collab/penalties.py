"""What an LR picture should be besides a good start for the receiver: round_within to look at, and small on disk."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.errors import UsageError, unknown_name
from hcd.ops import pad_to_multiple, quantize, resize_bicubic


class Penalty(ABC):
    """Something added to the loss that depends on the LR picture alone."""

    @abstractmethod
    def bind(self, *, hr: Tensor, plain_lr: Tensor, scale: int) -> Callable[[Tensor], Tensor]:
        """The penalty for one picture: LR ``[1, 3, h, w]`` → scalar tensor, differentiable."""


def _check_weight(weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise UsageError(f"weight {weight}: must be 0 or more, and finite")


@final
@dataclass(frozen=True, kw_only=True)
class Fidelity(Penalty):
    """``weight`` times the mean squared distance from the plain LR, or from the bicubic LR.

    Args:
        weight: of an LR pixel's squared error, against 1 for one of the restored picture's, ≥ 0.
        to: ``plain`` (what the network makes by itself) or ``bicubic``.
    """

    weight: float = 0.1
    to: Literal["plain", "bicubic"] = "plain"

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if self.to not in ("plain", "bicubic"):
            raise UsageError(unknown_name("reference", self.to, ("plain", "bicubic")))

    def bind(self, *, hr: Tensor, plain_lr: Tensor, scale: int) -> Callable[[Tensor], Tensor]:
        reference = plain_lr
        if self.to == "bicubic":
            reference = quantize(resize_bicubic(pad_to_multiple(hr, scale), Fraction(1, scale)))
        return lambda lr: self.weight * (lr - reference).square().mean()


@final
@dataclass(frozen=True, kw_only=True)
class FileSize(Penalty):
    """``weight`` times a smooth estimate of the bits that a lossless file spends on a sample.

    The estimate is the mean of ``log2(1 + √(r² + ¼))``, where ``r`` is what is left in gray levels once every sample is
    predicted by the mean of its left and upper neighbors, which lossless formats do much alike.

    Args:
        weight: in units of the loss per bit, ≥ 0; 1e-4 is the squared error at 40 dB.
    """

    weight: float = 1e-5

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def bind(self, *, hr: Tensor, plain_lr: Tensor, scale: int) -> Callable[[Tensor], Tensor]:
        return lambda lr: self.weight * self.bits(lr)

    def bits(self, lr: Tensor) -> Tensor:
        """The estimate, in bits per sample."""
        before = F.pad(lr, (1, 0, 1, 0), mode="replicate")
        rest = 255 * (lr - (before[..., 1:, :-1] + before[..., :-1, 1:]) / 2)
        # The square root is smooth at 0.
        return torch.log2(1 + (rest.square() + 0.25).sqrt()).mean()
