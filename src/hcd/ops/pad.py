"""Reflection padding to a multiple of the scale, for any size down to one pixel."""

from __future__ import annotations

import torch
from torch import Tensor


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom by reflection until both sides are multiples of ``multiple``.

    The last pixel is not repeated. A side shorter than the padding is reflected repeatedly; a side of one pixel is
    replicated.

    Args:
        image: ``[N, C, H, W]``, H and W ≥ 1.
        multiple: ≥ 1, in pixels.

    Returns:
        ``[N, C, ceil(H/multiple)·multiple, ceil(W/multiple)·multiple]``; the input itself if it is one already.
    """
    for dim in (-2, -1):
        length = image.shape[dim]
        padded = -(-length // multiple) * multiple
        if padded != length:
            image = image.index_select(dim, _reflected(length, padded).to(image.device))
    return image


def _reflected(length: int, padded: int) -> Tensor:
    period = max(1, 2 * (length - 1))
    position = torch.arange(padded) % period
    return torch.where(position < length, position, period - position)
