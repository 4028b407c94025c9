"""How good the weights are while they are trained: PSNR on pictures, through the rounded LR."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import final

import torch

from hcd.errors import TrainingError
from hcd.image import read_picture
from hcd.metrics import psnr
from hcd.ops import quantize
from hcd_lab.train.networks import RoundTrip

_SIDE = 256


@final
class Validation:
    """Mean PSNR-Y over the middle (at most 256²) of every picture.

    Args:
        files: the pictures.
        scale: HR side / LR side; also the border that PSNR leaves out.
        limit: pictures at most, evenly spread over the sorted ones; None for all.
        device: where the network is.

    Raises:
        TrainingError: there is no picture.
    """

    def __init__(
        self, files: Iterable[Path], *, scale: int, limit: int | None = 16, device: torch.device | str = "cpu"
    ) -> None:
        found = list(files)
        if limit is not None and len(found) > limit:
            found = [found[i * len(found) // limit] for i in range(limit)]
        self._scale = scale
        self._pictures = []
        for file in found:
            rgb = read_picture(file).rgb
            height, width = (min(side - side % scale, _SIDE - _SIDE % scale) for side in rgb.shape[-2:])
            if min(height, width) <= 2 * scale:
                continue
            top, left = (rgb.shape[-2] - height) // 2, (rgb.shape[-1] - width) // 2
            self._pictures.append(rgb[..., top : top + height, left : left + width].to(device))
        if not self._pictures:
            raise TrainingError(
                f"no picture to validate on of more than {2 * scale} pixels a side; name another folder"
            )

    @torch.no_grad()
    def __call__(self, round_trip: RoundTrip) -> float:
        """Mean PSNR-Y in dB of what a receiver rebuilds in 8 bits."""
        values = []
        for hr in self._pictures:
            _, _, hr_hat = round_trip(hr.contiguous(memory_format=torch.channels_last))
            values.append(psnr(quantize(hr_hat), hr, channel="y", border=self._scale))
        return float(sum(values) / len(values))
