"""Training patches, gathered by step number from pictures on the device."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hcd.errors import TrainingError
from hcd.image import SUFFIXES, read_picture
from hcd.ops import resize_bicubic

# File stems of training photographs that are benchmark pictures: number 302003 of BSDS500 is the woman of Set5.
_BENCHMARK_COPIES = {"302003"}


def picture_files(folders: Iterable[Path]) -> list[Path]:
    """List the pictures in some folders and their subfolders, in a fixed order.

    Known benchmark pictures are left out.

    Raises:
        TrainingError: no picture was found.
    """
    folders = tuple(folders)
    found = sorted({f for folder in folders for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES})
    files = [file for file in found if file.is_file() and file.stem not in _BENCHMARK_COPIES]
    if not files:
        raise TrainingError(f"no picture in {', '.join(map(str, folders))}; name a folder that has some")
    return files


class Patches:
    """Draw HR patches with their bicubic LR; a batch depends on the seed and the step number only.

    All pixels of all pictures are in one array on the device, one for HR and one for LR, so a batch with its flips and
    rotations is two gathers by computed indices, and only five integers per patch come from the host. The LR target is
    cropped from the LR of the whole picture, so it has no artifacts at patch borders.

    Args:
        files: the pictures, held on the device in 8 bits.
        scale: HR side / LR side.
        smallest: pictures with a shorter side are left out; also the largest patch that can be drawn.
        device: device of the pictures and the patches.
    """

    def __init__(self, files: Iterable[Path], *, scale: int, smallest: int, device: torch.device | str = "cpu") -> None:
        self.scale, self.smallest = scale, smallest
        self.device = torch.device(device)
        hr, lr, sizes = [], [], []
        for file in files:
            rgb = read_picture(file).rgb
            height, width = (side - side % scale for side in rgb.shape[-2:])
            if min(height, width) < smallest:
                continue
            rgb = rgb[..., :height, :width]
            # Channels-last: one row of each array is one pixel.
            hr.append((rgb[0] * 255).round().to(torch.uint8).flatten(1).T)
            lr.append(resize_bicubic(rgb, Fraction(1, scale))[0].half().flatten(1).T)
            sizes.append((height // scale, width // scale))
        if not hr:
            raise TrainingError(f"no picture of at least {smallest}×{smallest} pixels among those to train on")
        self._hr, self._lr = torch.cat(hr).to(self.device), torch.cat(lr).to(self.device)
        # Sides and areas count LR pixels, since patches begin on the LR grid.
        self._sizes = np.array(sizes)
        areas = self._sizes.prod(axis=1)
        self._starts = np.concatenate([[0], areas.cumsum()[:-1]])
        self._shares = areas / areas.sum()

    def __len__(self) -> int:
        return len(self._sizes)

    def batch(
        self, count: int, patch: int, *, seed: int, step: int, part: tuple[int, int] = (0, 1)
    ) -> tuple[Tensor, Tensor]:
        """Return the patches of one step, flipped and rotated at random, in channels-last memory format.

        Args:
            count: number of patches of the step, over all processes.
            patch: HR side, a multiple of the scale, at most ``smallest``.
            seed, step: determine the draw, with ``count`` and ``patch``.
            part: ``(i, n)`` returns every n-th patch from the i-th on, for process i of n.

        Returns:
            HR ``[count, 3, patch, patch]`` and LR ``[count, 3, patch/scale, patch/scale]``, float32.
        """
        rng = np.random.default_rng((seed, step))
        side = patch // self.scale
        pictures = rng.choice(len(self), size=count, p=self._shares)
        heights, widths = self._sizes[pictures].T
        tops, lefts = rng.integers(0, heights - side + 1), rng.integers(0, widths - side + 1)
        turns = rng.integers(0, 8, size=count)
        draw = np.stack([self._starts[pictures], widths, tops, lefts, turns], axis=1)[part[0] :: part[1]]
        start, width, top, left, turn = (
            torch.from_numpy(draw).to(self.device, non_blocking=True)[:, :, None, None].unbind(1)
        )
        hr = self._hr[
            _indices(start * self.scale**2, width * self.scale, top * self.scale, left * self.scale, turn, patch)
        ]
        lr = self._lr[_indices(start, width, top, left, turn, side)]
        return hr.permute(0, 3, 1, 2).float() / 255, lr.permute(0, 3, 1, 2).float()


def _indices(start: Tensor, width: Tensor, top: Tensor, left: Tensor, turn: Tensor, side: int) -> Tensor:
    """Return the index of each pixel of each patch; ``turn`` 0…7 is one of the eight symmetries of the square."""
    along = torch.arange(side, device=start.device)
    row, column = along[None, :, None], along[None, None, :]
    row, column = (
        torch.where(turn % 2 == 0, row, side - 1 - row),
        torch.where(turn // 2 % 2 == 0, column, side - 1 - column),
    )
    row, column = torch.where(turn // 4 == 0, row, column), torch.where(turn // 4 == 0, column, row)
    return start + (top + row) * width + left + column
