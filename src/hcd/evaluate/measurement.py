"""Metrics of one picture under one preset, on the encoded and decoded 8-bit LR file, by the field's protocol."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from hcd.collab import Evaluation, Result, Settings
from hcd.errors import ImageError
from hcd.image import Picture, decode_lr, encode_lr
from hcd.metrics import psnr, ssim
from hcd.ops import pad_to_multiple, quantize, resize_bicubic
from hcd.pipeline import downscale_picture, upscale_picture
from hcd.rescaler import Rescaler

_SSIM_WINDOW = 11


@dataclass(frozen=True, kw_only=True)
class Row:
    """Metrics of one picture under one preset.

    Attributes:
        image: file name.
        preset: name of the preset.
        psnr_y, ssim_y, psnr_rgb: metrics of the restored 8-bit picture without its border; PSNR in dB. SSIM is NaN
            on pictures smaller than its window.
        lr_psnr: PSNR-Y in dB of the LR picture against the rounded bicubic LR, border included.
        lr_bytes: size of the LR file (PNG), metadata included.
        grad_evals: gradient evaluations spent.
        seconds: wall time of the downscaling.
    """

    image: str
    preset: str
    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    lr_psnr: float
    lr_bytes: int
    grad_evals: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Metrics of one picture, and the pictures that they were measured on.

    Attributes:
        row: the metrics.
        lr_file: bytes of the LR file (PNG).
        lr: the decoded LR file, float ``[1, 3, h, w]``.
        restored: the 8-bit picture restored from ``lr``.
        result: the result of ``collaborate``.
    """

    row: Row
    lr_file: bytes
    lr: Tensor
    restored: Picture
    result: Result

    @property
    def max_change(self) -> int:
        """Maximum absolute difference between the LR and the plain LR, in gray levels."""
        return round(float((self.lr - self.result.plain_lr.cpu()).abs().max()) * 255)


def benchmark_crop(rgb: Tensor, scale: int, name: str) -> Tensor:
    """Crop a picture at the right and the bottom to multiples of the scale, as the field's protocols do.

    Raises:
        ImageError: the picture is too small for the metrics.
    """
    height, width = (side - side % scale for side in rgb.shape[-2:])
    if min(height, width) < _SSIM_WINDOW + 2 * scale:
        raise ImageError(f"{name}: too small to evaluate at scale {scale}; leave it out")
    return rgb[..., :height, :width]


def measure(
    picture: Picture,
    model: Rescaler,
    settings: Settings,
    *,
    image: str,
    preset: str,
    border: int | None = None,
    device: str = "cpu",
    memory: int | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
) -> Measurement:
    """Downscale a picture, encode it as an LR file, decode and upscale that, round to 8 bits and compare.

    Args:
        picture: the original; its alpha is ignored. The protocol crops it first, see :func:`benchmark_crop`.
        model: the rescaler, on ``device``.
        settings: settings of the downscaling.
        image, preset: names in the row.
        border: pixels cut on every side before measuring; None for the scale, as in the protocol.
        memory, on_evaluation: as in :func:`hcd.collaborate`.
    """
    picture = replace(picture, alpha=None)
    small = downscale_picture(picture, model, settings, device=device, memory=memory, on_evaluation=on_evaluation)
    data = encode_lr(small.picture, small.info)
    decoded, info = decode_lr(data, Path(image))
    restored = upscale_picture(decoded, model, info, device=device, memory=memory)
    bicubic = quantize(resize_bicubic(pad_to_multiple(picture.rgb, model.scale), Fraction(1, model.scale)))
    border = model.scale if border is None else border
    large_enough = min(picture.height, picture.width) - 2 * border >= _SSIM_WINDOW
    row = Row(
        image=image,
        preset=preset,
        psnr_y=psnr(restored.rgb, picture.rgb, border=border),
        ssim_y=ssim(restored.rgb, picture.rgb, border=border) if large_enough else math.nan,
        psnr_rgb=psnr(restored.rgb, picture.rgb, channel="rgb", border=border),
        lr_psnr=psnr(decoded.rgb, bicubic),
        lr_bytes=len(data),
        grad_evals=small.result.grad_evals,
        seconds=small.result.seconds,
    )
    return Measurement(row=row, lr_file=data, lr=decoded.rgb, restored=restored, result=small.result)
