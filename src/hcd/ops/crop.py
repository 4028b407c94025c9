"""Crop a picture to its center."""

from __future__ import annotations

from torch import Tensor


def center_crop(image: Tensor, side: int | None, *, multiple: int = 1) -> Tensor:
    """Return the center of a picture.

    Args:
        image: ``[..., H, W]``.
        side: longest side of the result in pixels; a shorter picture keeps its own. None for no limit.
        multiple: both sides are rounded down to a multiple of it.

    Returns:
        A view of ``image``.

    >>> import torch
    >>> center_crop(torch.arange(6.0)[None, :].repeat(5, 1), 4, multiple=2)[0]
    tensor([1., 2., 3., 4.])
    """
    height, width = image.shape[-2:]
    rows, columns = (min(length, side or length) // multiple * multiple for length in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[..., top : top + rows, left : left + columns]
