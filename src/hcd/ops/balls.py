"""Projections onto p-norm balls around the origin, p in {1, 2, ∞}: the nearest point.

A plain ball takes the norm over the whole tensor, so what a radius means depends on the size of the picture. A mean
ball takes the power mean over pictures, tiles or pixels: its radius is in the units of one element at any size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hcd.errors import ShapeError, UsageError, unknown_name

NORMS = ("l1", "l2", "linf")

BALL_GROUPS = ("picture", "tile", "pixel")
"""What a mean ball can take its power mean over."""

TILE = 64
"""Side of the square tiles of a mean ball."""


def project_ball(x: Tensor, norm: str, epsilon: float) -> Tensor:
    """The point of the ball ``‖x‖ ≤ epsilon`` nearest to ``x`` in Euclidean distance.

    Args:
        x: any shape; the norm is taken over all its elements.
        norm: ``l1``, ``l2`` or ``linf``.
        epsilon: radius, ≥ 0, in the units of ``x``; infinite means no constraint.

    Raises:
        UsageError: unknown norm or negative radius.

    Source: l1 by J. Duchi et al., "Efficient projections onto the l1-ball", ICML 2008, figure 1.
    """
    if epsilon < 0 or math.isnan(epsilon):
        raise UsageError(f"epsilon {epsilon}: the radius of a ball must be 0 or more")
    if norm not in NORMS:
        raise UsageError(unknown_name("norm", norm, NORMS))
    if math.isinf(epsilon):
        return x
    if norm == "linf":
        return x.clamp(-epsilon, epsilon)
    if norm == "l2":
        length = torch.linalg.vector_norm(x)
        return x * (epsilon / length).clamp(max=1.0) if length > 0 else x
    return _project_l1(x, epsilon)


def ball_norm(x: Tensor, norm: str) -> float:
    """The norm that :func:`project_ball` bounds, over the whole tensor."""
    if norm not in NORMS:
        raise UsageError(unknown_name("norm", norm, NORMS))
    order = {"l1": 1.0, "l2": 2.0, "linf": math.inf}[norm]
    return float(torch.linalg.vector_norm(x.double(), ord=order))


def _project_l1(x: Tensor, epsilon: float) -> Tensor:
    magnitude = x.abs().double().flatten()
    if magnitude.sum() <= epsilon:
        return x
    descending, _ = magnitude.sort(descending=True)
    counts = torch.arange(1, len(descending) + 1, device=x.device, dtype=torch.float64)
    thresholds = (descending.cumsum(0) - epsilon) / counts
    active = int((descending > thresholds).sum())
    threshold = thresholds[max(active, 1) - 1]
    return x.sign() * (x.abs() - threshold.to(x.dtype)).clamp(min=0)


def project_mean_ball(x: Tensor, norm: str, radius: float, over: str) -> Tensor:
    """The nearest point, in Euclidean distance, whose power mean over every group is at most ``radius``.

    The power mean is the mean of ``|x|`` (``l1``), its root mean square (``l2``) or its maximum (``linf``).

    Args:
        x: ``[N, C, H, W]``.
        norm: ``l1``, ``l2`` or ``linf``.
        radius: bound of every group's power mean, ≥ 0, in the units of ``x``; infinite means no constraint.
        over: the groups: ``picture`` (each of the N), ``tile`` (squares of side :data:`TILE` with all channels,
            counted from the top left corner, smaller at the right and at the bottom) or ``pixel`` (its C values).

    Returns:
        A tensor like ``x``; groups that are inside come back to the bit.

    Raises:
        UsageError: unknown norm or kind of group, or negative radius.
        ShapeError: not ``[N, C, H, W]``.

    Source: l1 by C. Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex
    of Rⁿ", J. Optim. Theory Appl. 1986.
    """
    if radius < 0 or math.isnan(radius):
        raise UsageError(f"radius {radius}: the radius of a ball must be 0 or more")
    _check_mean_ball(x, norm, over)
    if math.isinf(radius):
        return x
    if norm == "linf":
        return x.clamp(-radius, radius)
    rows, counts = _to_rows(x, over)
    limits = radius * (counts.sqrt() if norm == "l2" else counts)
    if norm == "l2":
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
        nearest = rows * (limits / lengths).to(x.dtype)
    else:
        lengths = rows.abs().sum(dim=1, keepdim=True, dtype=torch.float64)
        nearest = _shrink_rows(rows, limits)
    return _from_rows(torch.where(lengths > limits, nearest, rows), x.shape, over)


def mean_ball_norm(x: Tensor, norm: str, over: str) -> float:
    """The largest of the power means that :func:`project_mean_ball` bounds."""
    _check_mean_ball(x, norm, over)
    if norm == "linf":
        return float(x.abs().max())
    rows, counts = _to_rows(x, over)
    if norm == "l2":
        return float((torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64) / counts.sqrt()).max())
    return float((rows.abs().sum(dim=1, keepdim=True, dtype=torch.float64) / counts).max())


def _check_mean_ball(x: Tensor, norm: str, over: str) -> None:
    if norm not in NORMS:
        raise UsageError(unknown_name("norm", norm, NORMS))
    if over not in BALL_GROUPS:
        raise UsageError(unknown_name("group of a ball", over, BALL_GROUPS))
    if x.ndim != 4 or min(x.shape) < 1:
        raise ShapeError(f"mean ball: got shape {tuple(x.shape)}, needs [N, C, H, W] with every size at least 1")


def _to_rows(x: Tensor, over: str) -> tuple[Tensor, Tensor]:
    """One row per group, filled up with zeros where tiles are cut, and each group's number of elements, a column."""
    batch, channels, height, width = x.shape
    if over == "picture":
        rows = x.reshape(batch, -1)
    elif over == "pixel":
        rows = x.movedim(1, -1).reshape(-1, channels)
    else:
        down, across = math.ceil(height / TILE), math.ceil(width / TILE)
        padded = F.pad(x, (0, across * TILE - width, 0, down * TILE - height))
        tiles = padded.reshape(batch, channels, down, TILE, across, TILE)
        rows = tiles.permute(0, 2, 4, 1, 3, 5).reshape(batch * down * across, -1)
        heights, widths = (
            (size - torch.arange(0, size, TILE, device=x.device)).clamp(max=TILE) for size in (height, width)
        )
        counts = channels * (heights[:, None] * widths).flatten().repeat(batch)
        return rows, counts[:, None].double()
    return rows, torch.full((len(rows), 1), rows.shape[1], dtype=torch.float64, device=x.device)


def _from_rows(rows: Tensor, shape: torch.Size, over: str) -> Tensor:
    batch, channels, height, width = shape
    if over == "picture":
        return rows.reshape(shape)
    if over == "pixel":
        return rows.reshape(batch, height, width, channels).movedim(-1, 1).contiguous()
    down, across = math.ceil(height / TILE), math.ceil(width / TILE)
    tiles = rows.reshape(batch, down, across, channels, TILE, TILE).permute(0, 3, 1, 4, 2, 5)
    return tiles.reshape(batch, channels, down * TILE, across * TILE)[:, :, :height, :width].contiguous()


def _shrink_rows(rows: Tensor, limits: Tensor) -> Tensor:
    """Every row moved towards zero by its own threshold, such that its absolute values sum to its limit.

    The threshold rises, from one that is too low, to that for the elements still above it; elements only ever
    leave that set, so this ends, after a few rounds for pictures. Rows inside the ball come back unchanged.
    """
    magnitude = rows.abs()
    threshold = torch.zeros_like(limits)
    left = torch.full_like(limits, rows.shape[1] + 1)
    while True:
        above = magnitude > threshold
        count = above.sum(dim=1, keepdim=True, dtype=torch.float64)
        if torch.equal(count, left):
            return rows.sign() * (magnitude - threshold.to(rows.dtype)).clamp(min=0)
        left = count
        total = (magnitude * above).sum(dim=1, keepdim=True, dtype=torch.float64)
        # Maximum: rounding may not lower it, nor may a row that lies inside.
        threshold = ((total - limits) / count.clamp(min=1)).maximum(threshold)
