"""The settings of ``collaborate`` that put a lossy codec into its loop."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hcd.collab import CompressedSize, Compression, Reconstruction, Settings, Unrounded, fit_solving
from hcd.image import Codec
from hcd.memory import fit_upscaling
from hcd.ops import quantize
from hcd.rescaler import Rescaler


def codec_settings(
    hr: Tensor,
    model: Rescaler,
    settings: Settings,
    codec: Codec,
    *,
    alpha: Tensor | None = None,
    memory: int | None = None,
) -> Settings | None:
    """Return the given settings with those that make the result one for files of this codec.

    The loop restores from what the codec leaves of the LR picture, and what files take is weighed against the loss: a
    bit is worth what it is for the plain LR picture between this quality and the next lower one that is tried. So the
    result neither spends more bytes than the plain file nor saves some at the restored picture's cost.

    Args:
        hr, model, memory: as ``collaborate`` takes them.
        settings: what is asked for.
        alpha: ``[1, 1, h, w]`` of the LR picture; None where its file has none.

    Returns:
        None where the codec stays out of the loop: without stages, for settings that may restore worse than plain,
        such as ``paper``, which is kept as published, and where ``rounding`` is given.

    Raises:
        OutputError: the codec does not hold such a picture.
    """
    if not settings.evaluations or not settings.never_worse or not isinstance(settings.rounding, Unrounded):
        return None
    with torch.no_grad():
        plain = quantize(fit_solving(hr, model, steps_hr=0, steps_lr=0, memory=memory).downscale(hr))
        receiver = fit_upscaling(plain, model, memory=memory)
    objective = Reconstruction(hr=hr, model=receiver, loss=settings.loss)
    other = codec.quality - _APART if codec.quality > _APART else codec.quality + _APART
    (lost, bits), (lost_there, bits_there) = (
        _lost_and_bits(plain, objective, tried, alpha) for tried in (codec, replace(codec, quality=other))
    )
    slope = (lost_there - lost) / (bits - bits_there) if bits != bits_there else 0.0
    # Negative where a codec does worse with more bytes, as on pictures of a few pixels.
    size = CompressedSize(codec=codec, weight=max(0.0, _WORTH * slope))
    compression = Compression(codec=codec, alpha=alpha)
    return settings.replace(rounding=compression, penalties=(*settings.penalties, size))


# The estimate of the size counts about 1.2 bits where a file has one; and a little is left to the picture.
_WORTH = 0.75
_APART = 8


def _lost_and_bits(plain: Tensor, objective: Reconstruction, codec: Codec, alpha: Tensor | None) -> tuple[float, float]:
    """The loss per pixel of what is restored from a file of the plain LR picture, and its bits per LR pixel."""
    decoded, size = codec.roundtrip(plain, alpha)
    meter = objective.of_file(decoded)
    return meter.file_loss / objective.pixels, 8 * size / (plain.shape[-2] * plain.shape[-1])
