"""A picture in memory: tensors for the networks, and metadata for the result."""

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
        gray: whether the file had one color channel.
        icc: the embedded color profile (RGB or gray), kept unchanged, or None.
        depth: bits per sample of the file, 8 or 16; 16 for floating point.
        exif: EXIF as Pillow writes it, upright and without thumbnail, or None.
        xmp: the XMP packet, upright, or None.
        dpi: horizontal and vertical resolution, kept unchanged, or None.
        warnings: what reading left out, one line each, naming the file.
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
        """Return integers ``[H, W, C]`` from 0 to ``levels``, uint8 or uint16: color or gray, then alpha if any."""
        channels = self.rgb[:, :1] if self.gray else self.rgb
        if self.alpha is not None:
            channels = torch.cat([channels, self.alpha.to(channels)], dim=1)
        rounded = (quantize(channels, levels)[0] * levels).round().permute(1, 2, 0).contiguous().cpu()
        return rounded.numpy().astype(np.uint8 if levels < 256 else np.uint16)

    def to_pillow(self) -> Image.Image:
        """Return the 8-bit Pillow image, gray if the picture is gray, with its alpha."""
        image = Image.fromarray(_to_uint8(self.rgb))
        if self.gray:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(_to_uint8(self.alpha)[..., 0]))
        return image


def levels_of(depth: int) -> int:
    """Return the largest integer sample at this number of bits per sample."""
    return (1 << depth) - 1


def downscale_alpha(alpha: Tensor, scale: int, levels: int = 255) -> Tensor:
    """Downscale alpha for the LR file by antialiased bicubic: ``[1, 1, H, W]`` → ``[1, 1, ⌈H/scale⌉, ⌈W/scale⌉]``."""
    return quantize(resize_bicubic(pad_to_multiple(alpha, scale), Fraction(1, scale)), levels)


def upscale_alpha(alpha: Tensor, scale: int, *, height: int, width: int, levels: int = 255) -> Tensor:
    """Upscale alpha for the restored picture by bicubic, cropped to its size."""
    return quantize(resize_bicubic(alpha, scale), levels)[..., :height, :width]


def _to_uint8(image: Tensor) -> np.ndarray:
    return (quantize(image)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
