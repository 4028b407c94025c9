"""Padding to a multiple of the scale, for any size down to one pixel."""

from __future__ import annotations

import torch
from torch import Tensor


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend right and bottom by reflection until both sides are multiples of ``multiple``.

    The mirror stands on the last pixel (it is not repeated); a side shorter than the padding is
    reflected again and again, a side of one pixel repeats it.

    Args:
        image: ``[N, C, H, W]``, H and W ≥ 1.
        multiple: ≥ 1, in pixels.

    Returns:
        ``[N, C, ceil(H/multiple)·multiple, ceil(W/multiple)·multiple]``; the input itself where it fits.
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
