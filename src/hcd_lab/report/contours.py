"""Contours and corners of a picture, and how much of an energy lies on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.errors import MissingDependencyError
from hcd.ops import rgb_to_y

_SIGMA, _RADIUS = 1.0, 3


def structure(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Return the root of the trace and the smaller eigenvalue of the structure tensor of luma at every pixel.

    The tensor averages products of central differences in a Gaussian window of σ 1. The first result is large on
    contours, the second on corners.

    Args:
        rgb: ``[1, 3, H, W]``, RGB in [0, 1].

    Returns:
        Both ``[H, W]``, float64.

    Source: C. Harris and M. Stephens, "A combined corner and edge detector", Alvey 1988; the smaller eigenvalue as in
        J. Shi and C. Tomasi, "Good features to track", CVPR 1994.
    """
    luma = F.pad(rgb_to_y(rgb.double()), (1, 1, 1, 1), mode="replicate")[0, 0]
    across = (luma[1:-1, 2:] - luma[1:-1, :-2]) / 2
    down = (luma[2:, 1:-1] - luma[:-2, 1:-1]) / 2
    xx, yy, xy = _window(torch.stack([across * across, down * down, across * down]))
    trace = xx + yy
    gap = ((xx - yy).square() + 4 * xy.square()).sqrt()
    return trace.clamp(min=0).sqrt(), (trace - gap).clamp(min=0) / 2


def _window(products: Tensor) -> Tensor:
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=products.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum())[None, None, None]
    x = F.pad(products[:, None], (_RADIUS,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, kernel), kernel.transpose(2, 3))[:, 0]


def largest(values: Tensor, share: float) -> Tensor:
    """Return a mask of the pixels with the largest values: this share of all, at least one; ties in raster order."""
    flat = values.flatten()
    mask = torch.zeros(flat.numel(), dtype=torch.bool)
    mask[flat.argsort(descending=True, stable=True)[: max(1, round(share * flat.numel()))]] = True
    return mask.view(values.shape)


def share_on(energy: Tensor, mask: Tensor) -> float:
    """Return the share of an energy that lies on a mask; NaN for an energy of zero."""
    total = float(energy.sum())
    return float(energy[mask].sum()) / total if total else math.nan


def enrichment(energy: Tensor, mask: Tensor) -> float:
    """Return the share of the energy on the mask over the mask's share of the area: 1 for a uniform energy."""
    return share_on(energy, mask) / float(mask.double().mean())


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Return Spearman's correlation over pixels; NaN if one of them is constant."""
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingDependencyError("rank correlations need SciPy; pip install 'hcd[report]'") from error
    if float(a.min()) == float(a.max()) or float(b.min()) == float(b.max()):
        return math.nan
    return float(stats.spearmanr(a.flatten().numpy(), b.flatten().numpy()).statistic)
