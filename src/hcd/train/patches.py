"""Training pictures in memory, and patches drawn from them by step number."""

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


class Patches:
    """HR patches with their bicubic LR, drawn so that step ``n`` of a seed is always the same batch.

    The LR target is made from the whole picture and cropped on the same grid, so that no patch border
    shows in it.

    Args:
        folders: folders of pictures, read recursively, all kept in memory as 8 bit.
        scale: HR side / LR side.
        patch: HR side of a patch, a multiple of the scale; smaller pictures are left out.
    """

    def __init__(self, folders: Iterable[Path], *, scale: int, patch: int) -> None:
        self.scale, self.patch = scale, patch
        self._hr: list[Tensor] = []
        self._lr: list[Tensor] = []
        folders = tuple(folders)
        found = sorted(f for folder in folders for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
        for file in filter(Path.is_file, found):
            rgb = read_picture(file).rgb
            height, width = (side - side % scale for side in rgb.shape[-2:])
            if min(height, width) < patch:
                continue
            rgb = rgb[..., :height, :width]
            self._hr.append((rgb[0] * 255).round().to(torch.uint8))
            self._lr.append(resize_bicubic(rgb, Fraction(1, scale))[0].half())
        if not self._hr:
            raise TrainingError(f"no picture of at least {patch}×{patch} pixels in {', '.join(map(str, folders))}")

        areas = np.array([hr.shape[1] * hr.shape[2] for hr in self._hr], dtype=np.float64)
        self._shares = areas / areas.sum()

    def __len__(self) -> int:
        return len(self._hr)

    def batch(self, count: int, *, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """``count`` patches as float ``[N, 3, patch, patch]`` and their LR; flipped and rotated at random."""
        rng = np.random.default_rng((seed, step))
        pairs = [self._patch(rng, i) for i in rng.choice(len(self._hr), size=count, p=self._shares)]
        hr, lr = zip(*pairs, strict=True)
        return torch.stack(hr).float() / 255, torch.stack(lr).float()

    def _patch(self, rng: np.random.Generator, index: int) -> tuple[Tensor, Tensor]:
        hr, lr = self._hr[index], self._lr[index]
        side = self.patch // self.scale
        top, left = (int(rng.integers(0, length - side + 1)) for length in lr.shape[-2:])
        lr = lr[:, top : top + side, left : left + side]
        top, left = top * self.scale, left * self.scale
        hr = hr[:, top : top + self.patch, left : left + self.patch]
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        hr, lr = torch.rot90(hr, turns, (1, 2)), torch.rot90(lr, turns, (1, 2))
        return (hr.flip(2), lr.flip(2)) if mirrored else (hr, lr)
