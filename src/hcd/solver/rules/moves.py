"""Building blocks of the rules: inner products, capped moves, steepest descent, and recovery from bad steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.solver.rules.base import Point

_GLOBAL_SHARE = 0.1
"""Weight of the global inner product in a local one: the fallback where the local one vanishes."""

TRIES = 5
"""Consecutive failures after which a rule discards its memory and takes a steepest descent step."""


def dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum())


def inner(a: Tensor, b: Tensor, window: int | None) -> Tensor:
    """Return the global inner product, or a local one: a weighted mean around every pixel of ``[N, C, H, W]``.

    A local inner product includes a share of the global mean, see :data:`_GLOBAL_SHARE`.

    Args:
        window: half the side of the neighborhoods, whose weights fall linearly to zero; None for the global one.

    Returns:
        A scalar, or ``[N, 1, H, W]``.
    """
    product = a * b
    if window is None:
        return product.sum()
    field = product.sum(dim=1, keepdim=True)
    side = 2 * (window // 2) + 1
    # Two box filters per axis make a triangular window.
    for kernel in ((side, 1), (1, side)) * 2:
        padding = (kernel[0] // 2, kernel[1] // 2)
        field = F.avg_pool2d(field, kernel, stride=1, padding=padding, count_include_pad=False)
    return (1 - _GLOBAL_SHARE) * field + _GLOBAL_SHARE * product.sum(dim=1, keepdim=True).mean()


def largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def masked(x: Tensor, free: Tensor | None) -> Tensor:
    """Return ``x`` with zeros at the variables that are not free."""
    return x if free is None else x * free


def capped(move: Tensor, max_step: float, window: int | None = None) -> Tensor:
    """Shorten ``move`` so that no element changes by more than ``max_step``.

    Args:
        window: None scales the whole move by one factor. Otherwise each pixel of a move ``[N, C, H, W]`` has its own
            factor, from the largest element within half a window. A steep region then does not shorten the steps
            elsewhere, and the local direction is kept.
    """
    if window is None:
        size = largest(move)
        return move * min(1.0, max_step / size) if size > 0 else move
    reach = window // 2
    sizes = F.max_pool2d(move.abs().amax(dim=1, keepdim=True), 2 * reach + 1, stride=1, padding=reach)
    return move * (max_step / sizes.clamp(min=max_step))


def steepest(point: Point, size: float) -> Tensor:
    """Return the steepest descent move of the free variables whose largest element is ``size``."""
    if not bool(torch.isfinite(point.gradient).all()):
        return torch.zeros_like(point.x)
    gradient = masked(point.gradient, point.free)
    slope = largest(gradient)
    return gradient * (-size / slope) if slope > 0 else -gradient


def is_sound(point: Point) -> bool:
    """Return whether value and gradient are finite."""
    return math.isfinite(point.value) and bool(torch.isfinite(point.gradient).all())


def is_bad_step(point: Point, base: Point, limit: float) -> bool:
    """Return whether to take back a step from ``base``: its value is above ``limit``, or value or gradient not finite.

    If the base itself is not finite, no step from it is bad.
    """
    if not is_sound(base):
        return False
    return not (point.value <= limit and is_sound(point))


def recover(base: Point, point: Point, failures: int, first_step: float) -> tuple[Tensor, int]:
    """Return the next candidate after a bad step, and the number of consecutive failures including this one.

    At every multiple of ``TRIES`` the candidate is a steepest descent step from the base, of size ``first_step`` at
    first and ever smaller later, and the caller discards its memory. Otherwise it is the bad step, shortened. A move
    that projection turned uphill is given up at once, since shortening cannot help.
    """
    failures += 1
    move = point.x - base.x
    if failures < TRIES and dot(base.gradient, move) >= 0:
        failures = TRIES
    if failures % TRIES:
        return _shortened(base, point), failures
    size = largest(move) / 2
    return base.x + steepest(base, max(size, first_step) if failures == TRIES else size), failures


def _shortened(base: Point, point: Point) -> Tensor:
    """Return the minimizer of the interpolating parabola between the base and a bad step.

    The parabola matches value and slope at the base and the value at the bad step. Its minimizer is clamped between a
    tenth and a half of the step.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd ed., section 3.5 (interpolation).
    """
    move = point.x - base.x
    slope = dot(base.gradient, move)
    bend = point.value - base.value - slope
    share = min(0.5, max(0.1, -slope / (2 * bend))) if bend > 0 else 0.5
    return base.x + share * move
