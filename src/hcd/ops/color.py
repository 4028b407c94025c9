"""Luma as the protocols of the field define it."""

from __future__ import annotations

from torch import Tensor

_Y_WEIGHTS = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_Y_OFFSET = 16 / 255


def rgb_to_y(image: Tensor) -> Tensor:
    """Return the studio-range luma ``(65.481 R + 128.553 G + 24.966 B + 16) / 255`` of an RGB image, not rounded.

    Args:
        image: ``[..., 3, H, W]``, RGB in [0, 1].

    Returns:
        ``[..., 1, H, W]``, in [16/255, 235/255].

    Source: ITU-R BT.601, as MATLAB's ``rgb2ycbcr`` computes it.
    """
    red, green, blue = image.unbind(-3)
    luma = _Y_WEIGHTS[0] * red + _Y_WEIGHTS[1] * green + _Y_WEIGHTS[2] * blue + _Y_OFFSET
    return luma.unsqueeze(-3)
