"""The LR file holds whole gray levels: how the descent takes that into account, and how it is finished."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from hcd.errors import UsageError, named
from hcd.ops import quantize, straight_through

_LEVELS = 255


class Rounding(ABC):
    """What stands for the stored LR inside the loop."""

    @abstractmethod
    def stand_in(self, lr: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """The LR picture that the receiver is imagined to get, differentiable.

        Args:
            lr: the sample, in [0, 1].
            share: of the stage's evaluations that is spent, from 0 to 1.
            generator: of random choices.
        """

    def stored(self, lr: Tensor) -> Tensor:
        """What the receiver decodes from the file of an LR picture in 8 bits: the picture, where nothing is lost."""
        return lr


@final
@dataclass(frozen=True)
class Unrounded(Rounding):
    """The sample itself: it is rounded once, at the end."""

    def stand_in(self, lr: Tensor, share: float, generator: torch.Generator) -> Tensor:
        return lr


@final
@dataclass(frozen=True)
class StraightThrough(Rounding):
    """The rounded sample, with the gradient of the identity."""

    def stand_in(self, lr: Tensor, share: float, generator: torch.Generator) -> Tensor:
        return quantize(lr)


@final
@dataclass(frozen=True, kw_only=True)
class SoftRounding(Rounding):
    """A smooth staircase that grows from the identity to rounding.

    ``m + tanh(a (x − m)) / (2 tanh(a / 2))`` around the middle ``m`` between two levels, x in gray levels.

    Args:
        sharpest: ``a`` at the end; it grows from 0 in proportion to the spent share, > 0.

    Source: E. Agustsson and L. Theis, "Universally quantized neural compression", NeurIPS 2020, equation 18.
    """

    sharpest: float = 8.0

    def __post_init__(self) -> None:
        if not 0 < self.sharpest < math.inf:
            raise UsageError(f"sharpest {self.sharpest}: must be greater than 0, and finite")

    def stand_in(self, lr: Tensor, share: float, generator: torch.Generator) -> Tensor:
        sharpness = max(self.sharpest * share, 1e-3)
        levels = lr.clamp(0, 1) * _LEVELS
        middle = levels.detach().floor() + 0.5
        soft = middle + torch.tanh(sharpness * (levels - middle)) / (2 * math.tanh(sharpness / 2))
        return soft / _LEVELS


@final
@dataclass(frozen=True, kw_only=True)
class GumbelRounding(Rounding):
    """A random mixture of the two nearest levels that freezes into one of them.

    Weights are a softmax of ``−atanh(distance) / t`` with Gumbel noise, at a temperature t that falls.

    Args:
        coldest, warmest: temperature at the end and at the beginning, > 0.

    Source: Y. Yang, R. Bamler and S. Mandt, "Improving inference for neural image compression", NeurIPS 2020,
    section 3.2 (stochastic Gumbel annealing).
    Departs: the gradient is that of the identity. The mixture's own vanishes at whole levels, where an LR stage begins.
    """

    coldest: float = 0.05
    warmest: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.coldest <= self.warmest < math.inf:
            raise UsageError(
                f"coldest {self.coldest}, warmest {self.warmest}: must be above 0 and finite, in this order"
            )

    def stand_in(self, lr: Tensor, share: float, generator: torch.Generator) -> Tensor:
        temperature = self.warmest * (self.coldest / self.warmest) ** share
        return straight_through(lr, lambda x: _mixed(x, temperature, generator))


def _mixed(lr: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    levels = lr.clamp(0, 1) * _LEVELS
    # There is no level above the highest one that it could be drawn to.
    below = levels.floor().clamp(max=_LEVELS - 1)
    up = (levels - below).clamp(1e-4, 1 - 1e-4)
    logits = torch.stack([-torch.atanh(up), -torch.atanh(1 - up)]) / temperature
    uniform = torch.rand(logits.shape, generator=generator).to(logits).clamp(1e-6, 1 - 1e-6)
    weights = torch.softmax((logits - torch.log(-torch.log(uniform))) / temperature, dim=0)
    return (below + weights[1]) / _LEVELS


ROUNDINGS: dict[str, Rounding] = {
    "none": Unrounded(),
    "straight-through": StraightThrough(),
    "soft": SoftRounding(),
    "gumbel": GumbelRounding(),
}
"""Rounding strategies by name."""


def get_rounding(name: str) -> Rounding:
    """A rounding strategy by its name.

    Raises:
        UsageError: unknown name; lists the known ones.
    """
    return named("rounding", name, ROUNDINGS)
