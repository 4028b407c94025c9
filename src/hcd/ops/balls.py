"""Euclidean projections onto p-norm balls around the origin, p in {1, 2, ∞}."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hcd.errors import UsageError, unknown_name

NORMS = ("l1", "l2", "linf")


def project_ball(x: Tensor, norm: str, epsilon: float) -> Tensor:
    """Return the point of the ball ``‖x‖ ≤ epsilon`` that is nearest to ``x`` in Euclidean distance.

    Args:
        x: any shape. The norm is taken over all elements, so the meaning of a radius depends on the image size.
        norm: ``l1``, ``l2`` or ``linf``.
        epsilon: radius, ≥ 0, in the units of ``x``; infinity means no constraint.

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
    """Return the norm over the whole tensor that :func:`project_ball` bounds."""
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
