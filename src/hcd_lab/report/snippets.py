"""Tensors as pictures of the page."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hcd.image import Picture as Image
from hcd.image import encode
from hcd_lab.report.blocks import Picture
from hcd_lab.report.result_table import Number


def snippet(rgb: Tensor, alt: str, caption: Sequence[str | Number], *, gray: bool = False) -> Picture:
    """A small picture ``[1, 3, H, W]`` as PNG whose pixels are to be seen; values outside [0, 1] are clamped."""
    data = encode(Image(rgb=rgb.clamp(0, 1), gray=gray), ".png")
    return Picture(data=data, alt=alt, caption=caption, pixelated=True)
