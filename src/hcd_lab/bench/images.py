"""Benchmark images: files of a folder, sample photographs, and mosaics of any size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hcd.errors import MissingDependencyError, UsageError, printable
from hcd.evaluate import benchmark_crop
from hcd.image import list_pictures, read_picture
from hcd.ops import center_crop

SAMPLES = "samples"
"""Name of the set of sample photographs, which stands in where no folder is given."""
# Sample photographs of scikit-image, and the top left corner of the 256×256 part that is used.
_PHOTOGRAPHS = {"chelsea": (20, 100), "coffee": (60, 170), "astronaut": (0, 100)}
_SIDE = 256
# Photographs of the mosaic, and height and width of the part of each that is mirrored.
_MOSAIC, _PART = ("chelsea", "coffee", "astronaut", "rocket"), (300, 450)


@dataclass(frozen=True, kw_only=True)
class BenchmarkImage:
    """An image to measure on; its pixels are read on demand.

    Attributes:
        dataset, name: identify it.
        read: returns float ``[1, 3, H, W]``, RGB in [0, 1].
        crop: longest side of the center that is used; None for the whole image.
        digest: hash of its content, by which results are cached; empty where none are.
    """

    dataset: str
    name: str
    read: Callable[[], Tensor]
    crop: int | None = None
    digest: str = ""

    @property
    def label(self) -> str:
        return f"{self.dataset}/{self.name}"

    def original(self, scale: int) -> Tensor:
        """Return the HR image ``[1, 3, H, W]``: its center if cropped, with sides that are multiples of the scale.

        Raises:
            ImageError: cannot be read, or too small.
        """
        return benchmark_crop(center_crop(self.read(), self.crop), scale, self.label)


def folder_images(folder: Path, *, dataset: str | None = None, digests: bool = False) -> list[BenchmarkImage]:
    """List the images directly inside of a folder.

    Args:
        folder: where the files are.
        dataset: name of the set; None for that of the folder.
        digests: also hash the files.

    Raises:
        UsageError: no such folder, or no image in it.
    """
    files = list_pictures(folder)
    stems = [file.stem for file in files]
    return [
        BenchmarkImage(
            dataset=folder.name if dataset is None else dataset,
            # The suffix is only needed where a.png stands beside a.jpg.
            name=printable(file.stem if stems.count(file.stem) == 1 else file.name),
            read=partial(_read, file),
            digest=_file_digest(file) if digests else "",
        )
        for file in files
    ]


def sample_images() -> list[BenchmarkImage]:
    """Return the 256×256 centers of three photographs of scikit-image.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    data = _sample_data()

    def read(name: str) -> Tensor:
        top, left = _PHOTOGRAPHS[name]
        part = getattr(data, name)()[top : top + _SIDE, left : left + _SIDE]
        return torch.from_numpy(part.copy()).permute(2, 0, 1)[None].float() / 255

    return [
        BenchmarkImage(dataset=SAMPLES, name=name, read=partial(read, name), digest=_tensor_digest(read(name)))
        for name in _PHOTOGRAPHS
    ]


def mirrored_photographs(height: int, width: int) -> Tensor:
    """Tile an image of any size with photographs at their own resolution.

    Each tile is a part of a photograph with its three reflections, which join without seams. Tiles alternate between
    photographs.

    Returns:
        Float ``[1, 3, H, W]``, RGB in [0, 1], multiples of 1/255.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    data = _sample_data()
    rows, columns = _PART
    tiles = []
    for name in _MOSAIC:
        part = torch.from_numpy(getattr(data, name)()[:rows, :columns].copy()).permute(2, 0, 1)
        half = torch.cat([part, part.flip(-1)], dim=-1)
        tiles.append(torch.cat([half, half.flip(-2)], dim=-2))
    # Composed in bytes: where peak memory is measured, the input must not dominate it.
    image = torch.empty(3, height, width, dtype=torch.uint8)
    for row, top in enumerate(range(0, height, 2 * rows)):
        for column, left in enumerate(range(0, width, 2 * columns)):
            place = image[:, top : top + 2 * rows, left : left + 2 * columns]
            place.copy_(tiles[(row + column) % len(tiles)][:, : place.shape[1], : place.shape[2]])
    return image[None].float().div_(255)


def every_nth(images: Sequence[BenchmarkImage], n: int) -> list[BenchmarkImage]:
    """Return every n-th image.

    Raises:
        UsageError: ``n`` below 1.
    """
    if n < 1:
        raise UsageError(f"every {n}: must be 1 or more")
    return list(images[::n])


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


def _file_digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        # The error is raised when the image is read.
        return f"unreadable {file}"


def _tensor_digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
