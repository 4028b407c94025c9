"""A picture in memory: what the networks take, and what has to be given back with the result."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hcd.ops import pad_to_multiple, quantize, resize_bicubic


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture as tensors.

    Attributes:
        rgb: float32 ``[1, 3, H, W]`` in [0, 1]; a gray picture has three equal channels.
        alpha: float32 ``[1, 1, H, W]`` in [0, 1], straight (not premultiplied), or None.
        gray: whether the file held one color channel.
        icc: the embedded color profile, carried as it is, or None.
    """

    rgb: Tensor
    alpha: Tensor | None = None
    gray: bool = False
    icc: bytes | None = None

    @property
    def width(self) -> int:
        return self.rgb.shape[-1]

    @property
    def height(self) -> int:
        return self.rgb.shape[-2]

    def to_pillow(self) -> Image.Image:
        """The 8-bit picture: clamped, rounded, gray where it was gray, with its alpha."""
        image = Image.fromarray(_to_uint8(self.rgb))
        if self.gray:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(_to_uint8(self.alpha)[..., 0]))
        return image


def downscale_alpha(alpha: Tensor, scale: int) -> Tensor:
    """Alpha for the LR file, by antialiased bicubic: ``[1, 1, H, W]`` → ``[1, 1, ceil(H/scale), ceil(W/scale)]``."""
    return quantize(resize_bicubic(pad_to_multiple(alpha, scale), Fraction(1, scale)))


def upscale_alpha(alpha: Tensor, scale: int, *, height: int, width: int) -> Tensor:
    """Alpha for the restored picture, by bicubic, cropped to its size."""
    return quantize(resize_bicubic(alpha, scale))[..., :height, :width]


def _to_uint8(image: Tensor) -> np.ndarray:
    return (quantize(image)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
