"""One picture under one preset, measured on the encoded and decoded 8-bit LR file as the field's protocol wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor

from hcd.collab import Evaluation, Result
from hcd.errors import ImageError
from hcd.image import Picture, decode_lr, encode_lr
from hcd.metrics import psnr, ssim
from hcd.ops import quantize, resize_bicubic
from hcd.pipeline import downscale_picture, upscale_picture
from hcd.rescaler import Rescaler

_SSIM_WINDOW = 11


@dataclass(frozen=True, kw_only=True)
class Row:
    """Figures of one picture under one preset.

    Attributes:
        image: file name.
        preset: preset of ``collaborate``.
        psnr_y, ssim_y, psnr_rgb: of the restored 8-bit picture, border of ``scale`` pixels cut; dB for PSNR.
        lr_psnr: PSNR on luma, in dB, of the LR file against the rounded bicubic LR, no border cut.
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
    """The figures, and what they were measured on.

    Attributes:
        row: the figures.
        lr_file: bytes of the LR file (PNG).
        lr: what is decoded from it, float ``[1, 3, h, w]``.
        restored: the 8-bit picture that it restores, float ``[1, 3, H, W]``.
        result: of ``collaborate``.
    """

    row: Row
    lr_file: bytes
    lr: Tensor
    restored: Tensor
    result: Result


def benchmark_crop(rgb: Tensor, scale: int, name: str) -> Tensor:
    """A picture as the protocols read it: cut right and bottom to a multiple of the scale.

    Raises:
        ImageError: too small for the figures.
    """
    height, width = (side - side % scale for side in rgb.shape[-2:])
    if min(rgb.shape[-2:]) < _SSIM_WINDOW + 2 * scale:
        raise ImageError(f"{name}: too small to evaluate at scale {scale}; leave it out")
    return rgb[..., :height, :width]


def measure(
    rgb: Tensor,
    name: str,
    model: Rescaler,
    preset: str,
    *,
    device: str = "cpu",
    memory: int | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    **settings: Any,
) -> Measurement:
    """Downscale a picture, encode it as an LR file, decode and upscale that, round to 8 bits and compare.

    Args:
        rgb: ``[1, 3, H, W]``, RGB in [0, 1], from :func:`benchmark_crop`.
        name: of the picture, for the row.
        memory, on_evaluation, settings: as of :func:`hcd.collaborate`; ``device`` is where the model is.
    """
    picture = Picture(rgb=rgb)
    small = downscale_picture(
        picture, model, preset, device=device, memory=memory, on_evaluation=on_evaluation, **settings
    )
    data = encode_lr(small.picture, small.info)
    decoded, info = decode_lr(data, Path(name))
    restored = upscale_picture(decoded, model, info, device=device, memory=memory).rgb
    bicubic = quantize(resize_bicubic(rgb, Fraction(1, model.scale)))
    border = model.scale
    row = Row(
        image=name,
        preset=preset,
        psnr_y=psnr(restored, rgb, border=border),
        ssim_y=ssim(restored, rgb, border=border),
        psnr_rgb=psnr(restored, rgb, channel="rgb", border=border),
        lr_psnr=psnr(decoded.rgb, bicubic),
        lr_bytes=len(data),
        grad_evals=small.result.grad_evals,
        seconds=small.result.seconds,
    )
    return Measurement(row=row, lr_file=data, lr=decoded.rgb, restored=restored, result=small.result)
