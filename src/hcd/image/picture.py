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
        icc: the embedded color profile (of RGB or gray), carried as it is, or None.
        depth: bits per sample that were read, 8 or 16; files of floating point samples count as 16.
        exif: EXIF as Pillow writes it, upright and without thumbnail, or None.
        xmp: the XMP packet, upright, or None.
        dpi: horizontal and vertical resolution, carried as it is, or None.
        warnings: what reading could not take over, a line each that names the file.
    """

    rgb: Tensor
    alpha: Tensor | None = None
    gray: bool = False
    icc: bytes | None = None
    depth: int = 8
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return self.rgb.shape[-1]

    @property
    def height(self) -> int:
        return self.rgb.shape[-2]

    def samples(self, levels: int = 255) -> np.ndarray:
        """Integers ``[H, W, C]`` from 0 to ``levels``, uint8 or uint16: color or gray, then alpha if there is one."""
        channels = self.rgb[:, :1] if self.gray else self.rgb
        if self.alpha is not None:
            channels = torch.cat([channels, self.alpha.to(channels)], dim=1)
        rounded = (quantize(channels, levels)[0] * levels).round().permute(1, 2, 0).contiguous().cpu()
        return rounded.numpy().astype(np.uint8 if levels < 256 else np.uint16)

    def to_pillow(self) -> Image.Image:
        """The 8-bit picture: clamped, rounded, gray where it was gray, with its alpha."""
        image = Image.fromarray(_to_uint8(self.rgb))
        if self.gray:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(_to_uint8(self.alpha)[..., 0]))
        return image


def levels_of(depth: int) -> int:
    """The largest integer sample of a file of so many bits per sample."""
    return (1 << depth) - 1


def downscale_alpha(alpha: Tensor, scale: int, levels: int = 255) -> Tensor:
    """Alpha for the LR file, by antialiased bicubic: ``[1, 1, H, W]`` → ``[1, 1, ceil(H/scale), ceil(W/scale)]``."""
    return quantize(resize_bicubic(pad_to_multiple(alpha, scale), Fraction(1, scale)), levels)


def upscale_alpha(alpha: Tensor, scale: int, *, height: int, width: int, levels: int = 255) -> Tensor:
    """Alpha for the restored picture, by bicubic, cropped to its size."""
    return quantize(resize_bicubic(alpha, scale), levels)[..., :height, :width]


def _to_uint8(image: Tensor) -> np.ndarray:
    return (quantize(image)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
