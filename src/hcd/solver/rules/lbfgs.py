"""Limited-memory BFGS: a Newton-like direction from the last moves and gradient changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.rules.base import Point, StepRule
from hcd.solver.rules.moves import TRIES, capped, dot, inner, is_bad_step, masked, recover, steepest


@dataclass(frozen=True)
class _LBFGSState:
    base: Point | None = None
    pairs: tuple[tuple[Tensor, Tensor], ...] = field(default=())
    failures: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class LBFGS(StepRule):
    """Limited-memory BFGS with a capped step; a step that raised the objective is taken back and shortened.

    The direction is the two-loop recursion over the last ``memory`` pairs of moves and gradient changes. Pairs without
    positive curvature are left out. With a ``window``, every inner product of the recursion is local: taken around each
    pixel instead of over the whole image. An LR pixel affects only its neighborhood in the restored image, so the
    problem falls into many nearly independent ones, and each gets a recursion of its own. Steps do not shrink because
    another part of the image is steeper, and the number of evaluations does not grow with the image.

    Variables held by their bounds are excluded: gradient and pairs are restricted to the free ones, so the direction is
    a quasi-Newton one within the face of the feasible set. A candidate that is worse than its base is replaced by the
    minimizer of the interpolating parabola, between a tenth and a half of the step. After several consecutive failures
    the pairs are dropped and a small steepest descent step from the base follows. There is no line search: every
    evaluation is a step or a correction.

    Args:
        first_step: largest change of an element in the very first step, > 0.
        max_step: largest change of an element in any step, > 0.
        memory: pairs kept, ≥ 1.
        window: half the side, in pixels, of the neighborhoods of local inner products, whose weights fall to zero at
            their borders; for ``[N, C, H, W]``. None uses global inner products, as for tensors of other shapes.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd ed., algorithms 7.4 and 3.5 (interpolation);
    D. Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM J. Control
    Optim. 1982, section 2 (free variables).
    Departs: with a window, the coefficients of the recursion vary over the image, and the matrix that it represents is
    symmetric only where they do not. A direction that is not a descent direction is replaced by the global one.
    """

    first_step: float = 4 / 255
    max_step: float = 6 / 255
    memory: int = 10
    window: int | None = 17

    def __post_init__(self) -> None:
        if not (self.first_step > 0 and self.max_step > 0 and self.memory >= 1):
            raise UsageError("LBFGS: first_step and max_step must be greater than 0, memory at least 1")
        if self.window is not None and not (isinstance(self.window, int) and self.window >= 1):
            raise UsageError(f"LBFGS: window {self.window}: must be a whole number of pixels, at least 1, or None")

    def init(self) -> _LBFGSState:
        return _LBFGSState()

    def step(self, point: Point, state: _LBFGSState) -> tuple[Tensor, _LBFGSState]:
        base, pairs = state.base, state.pairs
        if base is not None:
            move, change = point.x - base.x, point.gradient - base.gradient
            if _is_positive(dot(move, change), dot(move, move), dot(change, change)):
                pairs = (*pairs, (move, change))[-self.memory :]
            if is_bad_step(point, base, base.value):
                candidate, failures = recover(base, point, state.failures, self.first_step)
                return candidate, _LBFGSState(base, pairs if failures % TRIES else (), failures)
        direction = self._direction(point, pairs, self.window if point.x.ndim == 4 else None)
        # "not <" rather than "≥", so that NaN counts as not descending.
        if pairs and self.window is not None and not dot(direction, point.gradient) < 0:
            direction = self._direction(point, pairs, None)
        if pairs and not dot(direction, point.gradient) < 0:
            pairs = ()
            direction = self._direction(point, pairs, None)
        return point.x + direction, _LBFGSState(point, pairs)

    def _direction(self, point: Point, pairs: tuple[tuple[Tensor, Tensor], ...], window: int | None) -> Tensor:
        free = point.free
        # The direction is zero at held variables, so moves need the mask only where they are added to it.
        pairs = tuple((move, masked(change, free)) for move, change in pairs)
        inverses = [_inverse_curvature(masked(move, free), change, window) for move, change in pairs]
        pairs, inverses = _kept(pairs, inverses)
        if not pairs:
            return steepest(point, self.first_step)
        direction = -masked(point.gradient, free)
        weights: list[Tensor] = []
        for (move, change), inverse in zip(reversed(pairs), reversed(inverses), strict=True):
            weight = inner(move, direction, window) * inverse
            weights.append(weight)
            direction = direction - weight * change
        direction = direction * _first_scale(*pairs[-1], inverses[-1], window)
        for (move, change), inverse, weight in zip(pairs, inverses, reversed(weights), strict=True):
            direction = direction + (weight - inner(change, direction, window) * inverse) * masked(move, free)
        return capped(direction, self.max_step, window)


_Pairs = tuple[tuple[Tensor, Tensor], ...]


def _kept(pairs: _Pairs, inverses: list[Tensor]) -> tuple[_Pairs, list[Tensor]]:
    """Drop the pairs that have positive curvature nowhere."""
    kept = [(pair, inverse) for pair, inverse in zip(pairs, inverses, strict=True) if bool((inverse > 0).any())]
    return tuple(pair for pair, _ in kept), [inverse for _, inverse in kept]


def _inverse_curvature(move: Tensor, change: Tensor, window: int | None) -> Tensor:
    """Return one over the inner product of move and change; 0 where the curvature is not positive."""
    product = inner(move, change, window)
    # The inverse of a smaller product would overflow.
    positive = product > 1e-30
    if window is None:
        positive &= _is_positive(product, inner(move, move, None), inner(change, change, None))
    return torch.where(positive, 1 / product, torch.zeros_like(product))


def _first_scale(move: Tensor, change: Tensor, inverse: Tensor, window: int | None) -> Tensor:
    """Return the initial inverse curvature, from the newest pair; the global one where the local is not positive."""
    overall = inner(move, change, None) / inner(change, change, None)
    if window is None:
        return overall
    local = 1 / (inverse * inner(change, change, window))
    return torch.where(inverse > 0, local, overall.clamp(min=0))


def _is_positive(curvature: Any, move: Any, change: Any) -> Any:
    """Return whether the curvature along a move is positive beyond rounding errors; False for NaN.

    Args:
        curvature, move, change: inner products of move and gradient change, and of each with itself; numbers or
            tensors.
    """
    return curvature > 1e-10 * (move * change) ** 0.5
