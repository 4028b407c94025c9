"""Moves that the rules have in common: capped, steepest, and back from a bad step."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.solver.rules.base import Point

_WHOLE = 0.1
"""Share of the whole in an inner product around a pixel: where nothing moves, the rest of the picture speaks."""

TRIES = 5
"""Failures in a row after which a rule gives up what it learned and goes back to steepest descent."""


def dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum())


def inner(a: Tensor, b: Tensor, window: int | None) -> Tensor:
    """The inner product: over everything, or around every pixel of ``[N, C, H, W]``, as a mean, with some of the whole.

    Args:
        window: half the side of the neighborhoods, whose weights fall linearly to zero; None for everything.

    Returns:
        A scalar, or ``[N, 1, H, W]``.
    """
    product = a * b
    if window is None:
        return product.sum()
    field = product.sum(dim=1, keepdim=True)
    side = 2 * (window // 2) + 1
    # A mean of means, over rows and columns in turn: weights of a pyramid.
    for kernel in ((side, 1), (1, side)) * 2:
        padding = (kernel[0] // 2, kernel[1] // 2)
        field = F.avg_pool2d(field, kernel, stride=1, padding=padding, count_include_pad=False)
    return (1 - _WHOLE) * field + _WHOLE * product.sum(dim=1, keepdim=True).mean()


def largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def masked(x: Tensor, free: Tensor | None) -> Tensor:
    """``x`` with zeros where the variables are not free."""
    return x if free is None else x * free


def capped(move: Tensor, max_step: float, window: int | None = None) -> Tensor:
    """``move``, shortened so that no element changes by more than ``max_step``.

    Args:
        window: None shortens the move as a whole. Else a move ``[N, C, H, W]`` is shortened around every pixel, by what
            the largest element within half a window of it asks for: a steep place does not shorten the steps of all
            others, and the direction that it takes stays.
    """
    if window is None:
        size = largest(move)
        return move * min(1.0, max_step / size) if size > 0 else move
    reach = window // 2
    sizes = F.max_pool2d(move.abs().amax(dim=1, keepdim=True), 2 * reach + 1, stride=1, padding=reach)
    return move * (max_step / sizes.clamp(min=max_step))


def steepest(point: Point, size: float) -> Tensor:
    """The move against the gradient of the free variables whose largest change of an element is ``size``."""
    if not bool(torch.isfinite(point.gradient).all()):
        return torch.zeros_like(point.x)
    gradient = masked(point.gradient, point.free)
    slope = largest(gradient)
    return gradient * (-size / slope) if slope > 0 else -gradient


def is_sound(point: Point) -> bool:
    """Whether value and gradient are numbers that a step can start from."""
    return math.isfinite(point.value) and bool(torch.isfinite(point.gradient).all())


def is_bad_step(point: Point, base: Point, limit: float) -> bool:
    """Whether a step from ``base`` is to be taken back: it led above ``limit`` or to no numbers at all.

    From a base that is itself no place to go back to, every step is good.
    """
    if not is_sound(base):
        return False
    return not (point.value <= limit and is_sound(point))


def way_back(base: Point, point: Point, failures: int, first_step: float) -> tuple[Tensor, int]:
    """The next candidate after a bad step, and the count of failures in a row with this one.

    At every multiple of ``TRIES`` the candidate is a steepest descent step from the base, first of the size
    ``first_step``, later ever smaller: the caller then drops what it learned. Otherwise it is the bad step,
    shortened. A move that projection has turned uphill is given up at once, for shortening does not help it.
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
    """The candidate between the base and a bad step where the interpolating parabola is lowest.

    The parabola goes through value and slope at the base and value at the bad step; its minimizer is held
    between a tenth and a half of the way.

    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2nd ed., section 3.5 (interpolation).
    """
    move = point.x - base.x
    slope = dot(base.gradient, move)
    bend = point.value - base.value - slope
    share = min(0.5, max(0.1, -slope / (2 * bend))) if bend > 0 else 0.5
    return base.x + share * move
