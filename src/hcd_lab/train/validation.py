"""Validation during training: PSNR of pictures that are restored from the rounded LR."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import final

import torch

from hcd.errors import TrainingError
from hcd.image import read_picture
from hcd.metrics import psnr
from hcd.ops import center_crop, quantize
from hcd_lab.train.networks import RoundTrip

_SIDE = 256


@final
class Validation:
    """Compute the mean PSNR-Y over the center (at most 256²) of every picture.

    Args:
        files: the pictures.
        scale: HR side / LR side; also the border that PSNR leaves out.
        limit: number of pictures at most, spread evenly over the sorted files; None for all.
        device: device of the network.

    Raises:
        TrainingError: no picture is large enough.
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
            center = center_crop(read_picture(file).rgb, _SIDE, multiple=scale)
            if min(center.shape[-2:]) > 2 * scale:
                self._pictures.append(center.to(device))
        if not self._pictures:
            raise TrainingError(
                f"no picture to validate on of more than {2 * scale} pixels a side; name another folder"
            )

    @torch.no_grad()
    def __call__(self, round_trip: RoundTrip) -> float:
        """Return the mean PSNR-Y in dB of the restored 8-bit pictures."""
        values = []
        for hr in self._pictures:
            _, _, hr_hat = round_trip(hr.contiguous(memory_format=torch.channels_last))
            values.append(psnr(quantize(hr_hat), hr, channel="y", border=self._scale))
        return float(sum(values) / len(values))
