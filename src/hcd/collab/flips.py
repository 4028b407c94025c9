"""A discrete finish: single pixels of the rounded LR picture move by one gray level where that should pay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.ops import GRAY_LEVEL
from hcd.solver import Point, StepRule, Stopped

# Where no curvature is known yet, it is taken to be so large that this share of the pixels would gain, and a little
# less, so that pixels gain where none has a larger slope.
_FIRST_SHARE, _LESS = 0.02, 0.999


@dataclass(frozen=True, kw_only=True)
class _FlipState:
    """The best point, the share of the gaining pixels that is moved from it, the second derivative by one pixel."""

    base: Point
    share: float
    curvature: float


@final
@dataclass(frozen=True, kw_only=True)
class LevelFlips(StepRule):
    """Moves those pixels by a gray level q whose predicted gain ``|g| q − ½ c q²`` is largest, from a rounded picture.

    c is the second derivative by one pixel, as if none other moved: taken from the last move s and its gradient
    change y as ``s·y / s·s``. Where a candidate is worse than its base, half as many pixels move. Those that their
    bounds hold take no part. Where none gains, the descent ends.

    Args:
        share: of the pixels with a predicted gain that move at first, in (0, 1].
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"LevelFlips: share {self.share}: must be above 0 and at most 1")

    def init(self) -> _FlipState | None:
        return None

    def step(self, point: Point, state: _FlipState | None) -> tuple[Tensor, _FlipState | None]:
        if state is None:
            slopes = _slopes(point).flatten()
            gaining = slopes.kthvalue(max(1, round((1 - _FIRST_SHARE) * len(slopes)))).values
            state = _FlipState(base=point, share=self.share, curvature=_LESS * 2 * float(gaining) / GRAY_LEVEL)
            return _flipped(state), state
        base = state.base
        move, change = point.x - base.x, point.gradient - base.gradient
        square = float(move.square().sum())
        measured = float((move * change).sum()) / square if square > 0 else 0.0
        curvature = measured if measured > 0 else state.curvature
        if point.value < base.value:
            state = replace(state, base=point, curvature=curvature)
        else:
            state = replace(state, share=state.share / 2, curvature=curvature)
        return _flipped(state), state


def _flipped(state: _FlipState) -> Tensor:
    x = state.base.x
    gain = _slopes(state.base) - 0.5 * state.curvature * GRAY_LEVEL
    count = int(state.share * int((gain > 0).sum()))
    if count == 0:
        raise Stopped
    threshold = gain.flatten().topk(count).values[-1]
    return torch.where(gain >= threshold, x - GRAY_LEVEL * state.base.gradient.sign(), x)


def _slopes(point: Point) -> Tensor:
    """Magnitudes of the gradient, 0 where a bound holds a pixel."""
    return point.gradient.abs() if point.free is None else point.gradient.abs() * point.free
