"""The settings of ``collaborate`` that put a lossy codec into its loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hcd.collab import CompressedSize, Compression, Reconstruction, fit_solving, fit_upscaling, get_settings
from hcd.collab.compression import SHARE_PER_BIT
from hcd.image import Codec
from hcd.ops import quantize
from hcd.rescaler import Rescaler


def codec_settings(
    hr: Tensor,
    model: Rescaler,
    preset: str,
    codec: Codec,
    *,
    alpha: Tensor | None = None,
    memory: int | None = None,
    **settings: Any,
) -> dict[str, Any] | None:
    """The given settings, and those that make the result one for files of this codec.

    The loop restores from what the codec leaves of the LR picture, and what files take is weighed against the loss, so
    that a bit costs a fixed share of what is lost when the plain LR picture is stored in such a file.

    Args:
        hr, model, preset, memory, settings: as ``collaborate`` takes them.
        alpha: ``[1, 1, h, w]`` of the LR picture; None where its file has none.

    Returns:
        None where the codec stays out of the loop: without stages, for ``paper``, which is kept as published, and
        where ``rounding`` is given.

    Raises:
        OutputError: the codec does not hold such a picture.
    """
    configured = get_settings(preset, **settings)
    if not configured.evaluations or preset == "paper" or "rounding" in settings:
        return None
    compression = Compression(codec=codec, alpha=alpha)
    with torch.no_grad():
        plain = quantize(fit_solving(hr, model, steps_hr=0, steps_lr=0, memory=memory).downscale(hr))
        receiver = fit_upscaling(plain, model, memory=memory)
        meter = Reconstruction(hr=hr, model=receiver, loss=configured.loss).of_file(compression.stored(plain))
    lost = meter.file_loss / (hr.shape[-2] * hr.shape[-1])
    size = CompressedSize(codec=codec, weight=SHARE_PER_BIT * lost)
    return {**settings, "rounding": compression, "penalties": (*configured.penalties, size)}
