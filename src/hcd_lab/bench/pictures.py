"""Pictures that solvers are measured on: those of folders, or photographs that scikit-image ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hcd.errors import MissingDependencyError, UsageError
from hcd.image import list_pictures, read_picture

# Names and the top left corner of the 256×256 part.
_PHOTOGRAPHS = {"chelsea": (20, 100), "coffee": (60, 170), "astronaut": (0, 100)}
_SIDE = 256
# Those that are mirrored into pictures of any size, and how much of them is: height and width.
_TO_MIRROR, _PART = ("chelsea", "coffee", "astronaut", "rocket"), (300, 450)


@dataclass(frozen=True, kw_only=True)
class BenchPicture:
    """A picture that is read when its turn comes.

    Attributes:
        name: unique, for rows.
        read: its float ``[1, 3, H, W]``, RGB in [0, 1].
    """

    name: str
    read: Callable[[], Tensor]


def folder_pictures(folders: Sequence[Path], *, every: int = 1) -> list[BenchPicture]:
    """Every so many-th picture directly inside of each folder.

    Raises:
        UsageError: no such folder, none in it, or ``every`` below 1.
    """
    if every < 1:
        raise UsageError(f"every {every}: must be 1 or more")
    files = [file for folder in folders for file in list_pictures(folder)[::every]]
    return [BenchPicture(name=f"{file.parent.name}/{file.name}", read=partial(_read, file)) for file in files]


def sample_pictures() -> list[BenchPicture]:
    """256×256 parts of three photographs.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    data = _sample_data()

    def read(name: str) -> Tensor:
        top, left = _PHOTOGRAPHS[name]
        part = getattr(data, name)()[top : top + _SIDE, left : left + _SIDE]
        return torch.from_numpy(part.copy()).permute(2, 0, 1)[None].float() / 255

    return [BenchPicture(name=name, read=partial(read, name)) for name in _PHOTOGRAPHS]


def mirrored_photographs(height: int, width: int) -> Tensor:
    """A picture of any size out of photographs at their own resolution: each with its mirror images, side by side.

    A part of a photograph and its three reflections make a field without seams; the next field is of the next one.

    Returns:
        Float ``[1, 3, H, W]``, RGB in [0, 1], multiples of 1/255.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    data = _sample_data()
    rows, columns = _PART
    fields = []
    for name in _TO_MIRROR:
        part = torch.from_numpy(getattr(data, name)()[:rows, :columns].copy()).permute(2, 0, 1)
        half = torch.cat([part, part.flip(-1)], dim=-1)
        fields.append(torch.cat([half, half.flip(-2)], dim=-2))
    # In bytes until it is whole: where memory is measured, this is not to take more than what follows.
    picture = torch.empty(3, height, width, dtype=torch.uint8)
    for row, top in enumerate(range(0, height, 2 * rows)):
        for column, left in enumerate(range(0, width, 2 * columns)):
            place = picture[:, top : top + 2 * rows, left : left + 2 * columns]
            place.copy_(fields[(row + column) % len(fields)][:, : place.shape[1], : place.shape[2]])
    return picture[None].float().div_(255)


def _sample_data() -> Any:
    try:
        from skimage import data
    except ImportError as error:
        raise MissingDependencyError(
            "no folder given, and the photographs to use instead need scikit-image; pip install 'hcd[demo]'"
        ) from error
    return data


def _read(file: Path) -> Tensor:
    return read_picture(file).rgb
