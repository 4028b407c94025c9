"""PSNR and SSIM as rescaling papers report them: in float64, on luma or RGB, without a border."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.errors import ShapeError, UsageError, unknown_name
from hcd.ops import rgb_to_y

CHANNELS = ("y", "rgb")
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(a: Tensor, b: Tensor, *, channel: str = "y", border: int = 0) -> float:
    """Return the peak signal-to-noise ratio ``10 log10(1 / mean((a − b)²))`` in dB; infinite for equal pictures.

    Args:
        a, b: ``[N, 3, H, W]``, RGB in [0, 1]; not rounded here (round them first to measure a file).
        channel: ``y`` for studio-range luma with peak 255, ``rgb`` for all three channels pooled.
        border: pixels cut from each side first, customarily the scale.

    Returns:
        The mean of the N pictures' PSNR.

    Raises:
        ShapeError: the shapes differ, or the border leaves nothing.
        UsageError: unknown channel.

    >>> a = torch.zeros(1, 3, 16, 16)
    >>> round(psnr(a, a + 0.1, channel="rgb"), 2)
    20.0
    """
    a, b = _comparable(a, b, channel, border, smallest=1)
    errors = (a - b).square().flatten(1).mean(dim=1)
    return sum(math.inf if e == 0 else -10 * math.log10(e) for e in errors.tolist()) / len(errors)


def ssim(a: Tensor, b: Tensor, *, channel: str = "y", border: int = 0) -> float:
    """Return the structural similarity: 11×11 Gaussian window of σ 1.5, valid region, biased variances; 1 if equal.

    Args, Returns, Raises: as :func:`psnr`; at least 11 pixels a side must be left inside the border.

    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity",
        IEEE TIP 2004; constants and cropping as in its reference implementation.
    """
    return float(_similarity(*_comparable(a, b, channel, border, smallest=_WINDOW)).mean())


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return luminance * structure


def _comparable(a: Tensor, b: Tensor, channel: str, border: int, smallest: int) -> tuple[Tensor, Tensor]:
    if channel not in CHANNELS:
        raise UsageError(unknown_name("channel", channel, CHANNELS))
    if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
        raise ShapeError(f"metrics: got shapes {tuple(a.shape)} and {tuple(b.shape)}, need two equal [N, 3, H, W]")
    if len(a) == 0 or not (a.is_floating_point() and b.is_floating_point()):
        raise ShapeError(
            f"metrics: got {len(a)} pictures of {a.dtype} and {b.dtype}, need at least one, floating point in [0, 1]; "
            "divide integer samples by 255 first"
        )
    a, b = a.detach(), b.detach()
    height, width = (side - 2 * border for side in a.shape[-2:])
    if min(height, width) < smallest or border < 0:
        raise ShapeError(
            f"metrics: {a.shape[-1]}×{a.shape[-2]} pixels with a border of {border} leave {width}×{height}, "
            f"which is under {smallest}×{smallest}; use a smaller border or a larger picture"
        )
    pair = (a.double(), b.double()) if channel == "rgb" else (rgb_to_y(a.double()), rgb_to_y(b.double()))
    inside = (..., slice(border, border + height), slice(border, border + width))
    return pair[0][inside], pair[1][inside]


def _blur(x: Tensor) -> Tensor:
    offsets = torch.arange(_WINDOW, dtype=x.dtype, device=x.device) - _WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(x, kernel, groups=x.shape[1])
    return F.conv2d(x, kernel.transpose(2, 3), groups=x.shape[1])
