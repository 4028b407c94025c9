"""The way of one picture, in memory: picture → LR picture with its information → file, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from hcd.collab import Evaluation, Loss, Result, Settings, collaborate, fit_solving, get_settings
from hcd.image import (
    Codec,
    LRInfo,
    Picture,
    decode_lr,
    downscale_alpha,
    encode_lr,
    fill_transparent,
    levels_of,
    lost_profile,
)
from hcd.memory import fit_upscaling
from hcd.metrics import psnr
from hcd.ops import quantize
from hcd.pipeline.lossy import codec_settings
from hcd.pipeline.receiver import upscale_picture
from hcd.rescaler import GrayRescaler, Rescaler


@dataclass(frozen=True, kw_only=True)
class Downscaled:
    """An LR picture on its way to a file.

    Attributes:
        picture: the LR picture, multiples of 1/255 (of 1/65535 where ``info.depth`` is 16), on the CPU.
        info: what goes into its metadata.
        result: how it was found.
        psnr, plain_psnr: PSNR over RGB in dB of the picture restored from it, and from the plain LR of the same
            depth; None where no stage ran. Under transparent pixels against the colors that were filled in.
        loss: what was minimized, and decides what restores worse.
        codec: of whose files ``psnr`` and ``plain_psnr`` are; None where they are of lossless ones.
    """

    picture: Picture
    info: LRInfo
    result: Result
    psnr: float | None
    plain_psnr: float | None
    loss: Loss
    codec: Codec | None = None


def downscale_picture(
    picture: Picture,
    model: Rescaler,
    preset: str | Settings = "balanced",
    *,
    depth: int = 8,
    codec: Codec | None = None,
    device: str = "cpu",
    memory: int | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Downscaled:
    """Downscale one picture collaboratively; alpha is downscaled by bicubic, profile, EXIF, XMP and dpi are carried.

    Args:
        depth: bits per sample of the LR file, 8 or 16. The stages round to 8 all the same; their last sample
            is kept with 16 where that restores at least as well as the plain LR.
        codec: what will write the file, if it is a lossy one: it is in the loop then, see :func:`codec_settings`.

    Args, Raises: as :func:`hcd.collaborate`; ``device`` is where the model is.
    """
    settings = get_settings(preset)
    solved_for = GrayRescaler(model) if picture.gray else model
    hr = visible_colors(picture).to(device)
    levels = levels_of(depth)
    alpha = None if picture.alpha is None else downscale_alpha(picture.alpha, model.scale, levels)
    in_loop = None
    if codec is not None:
        codec.check(picture)
        # JPEG has no alpha, and AVIF keeps it apart from the colors.
        seen = alpha if codec.format == "webp" else None
        in_loop = codec_settings(hr, solved_for, settings, codec, alpha=seen, memory=memory)
    result = collaborate(
        hr,
        solved_for,
        settings if in_loop is None else in_loop,
        memory=memory,
        on_evaluation=on_evaluation,
        on_tile=on_tile,
        stop=stop,
    )
    lr, reached, plain = result.lr, result.psnr[0], result.plain_psnr[0]
    if depth == 16:
        lr, reached, plain = _with_sixteen_bits(hr, solved_for, result, settings.loss, memory)
    info = LRInfo(
        model=model.name,
        weights=model.weights_hash,
        scale=model.scale,
        width=picture.width,
        height=picture.height,
        latent=model.latent,
        gray=picture.gray,
        depth=depth,
    )
    small = replace(picture, rgb=lr.cpu(), alpha=alpha, gray=False, depth=depth, warnings=lost_profile(picture, info))
    return Downscaled(
        picture=small,
        info=info,
        result=result,
        psnr=reached,
        plain_psnr=plain,
        loss=settings.loss,
        codec=None if in_loop is None else codec,
    )


def visible_colors(picture: Picture) -> Tensor:
    """The picture's colors, with those under transparent pixels continued from the visible ones."""
    return picture.rgb if picture.alpha is None else fill_transparent(picture.rgb, picture.alpha)


@torch.no_grad()
def _with_sixteen_bits(
    hr: Tensor, model: Rescaler, result: Result, loss: Loss, memory: int | None
) -> tuple[Tensor, float | None, float | None]:
    """The last sample, or the plain LR where that restores better, with 16 bits; and what both restore."""
    levels = levels_of(16)
    plain = quantize(fit_solving(hr, model, steps_hr=0, steps_lr=0, memory=memory).downscale(hr), levels)
    if result.psnr[0] is None:
        return plain, None, None
    solved = quantize(result.collaborative_lr, levels)
    receiver = fit_upscaling(solved, model, memory=memory)
    height, width = hr.shape[-2:]
    restored = [quantize(receiver.upscale(lr), levels)[..., :height, :width] for lr in (solved, plain)]
    reached = [psnr(hr_hat, hr, channel="rgb") for hr_hat in restored]
    if not loss.is_no_worse(restored[0], restored[1], hr):
        return plain, reached[1], reached[1]
    return solved, reached[0], reached[1]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """An LR file in memory.

    Attributes:
        data: its bytes.
        psnr, plain_psnr: as of :class:`Downscaled`, but of the file and of the same kind of file of the plain LR.
    """

    data: bytes
    psnr: float | None
    plain_psnr: float | None


def encode_downscaled(
    small: Downscaled,
    original: Picture,
    model: Rescaler,
    suffix: str = ".png",
    codec: Codec | None = None,
    *,
    device: str = "cpu",
    memory: int | None = None,
) -> Encoded:
    """The LR file: lossless by its suffix, or by a lossy codec, whose loss the figures then tell.

    Where the codec was not in the loop, and the plain LR restores better from a lossy file than the solved one, it is
    the plain one.

    Raises:
        UsageError: the suffix holds no LR picture, or not of this depth.
        OutputError: the picture does not fit into the format.
    """
    if codec is None:
        data = encode_lr(small.picture, small.info, suffix)
        return Encoded(data=data, psnr=small.psnr, plain_psnr=small.plain_psnr)
    data = codec.encode(small.picture, small.info)
    if small.psnr is None or small.codec == codec:
        return Encoded(data=data, psnr=small.psnr, plain_psnr=small.plain_psnr)
    plain = codec.encode(replace(small.picture, rgb=small.result.plain_lr.cpu()), small.info)
    hr, pictures = visible_colors(original), []
    for file in (data, plain):
        # Not checked against a limit: it was read as the original, or is what this process just made.
        decoded, info = decode_lr(file, Path("LR file"), max_pixels=sys.maxsize)
        restored = upscale_picture(decoded, model, info, device=device, memory=memory)
        pictures.append(restored.rgb)
    reached = [psnr(hr_hat, hr, channel="rgb") for hr_hat in pictures]
    if not small.loss.is_no_worse(pictures[0], pictures[1], hr):
        return Encoded(data=plain, psnr=reached[1], plain_psnr=reached[1])
    return Encoded(data=data, psnr=reached[0], plain_psnr=reached[1])
