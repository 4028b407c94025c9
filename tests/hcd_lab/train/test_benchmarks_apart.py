"""No picture that the figures are measured on is among those that the shipped weights are trained on."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from hcd_lab.train import picture_files
from tests.hcd_lab.train.overlap import KnownPictures, read_gray

pytestmark = pytest.mark.slow

COPY = 0.8  # agreement from which on two pictures share a region; strangers stay below 0.75
PLANTED = 8
BENCHMARKS = ("Set5", "Set14", "BSD100")


def half_size_crop(gray, rng):
    """A crop of a benchmark picture, half as large and encoded by JPEG."""
    height, width = gray.shape
    side = int(rng.integers(160, min(height, width)))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    crop = Image.fromarray(gray[top : top + side, left : left + side].numpy().astype(np.uint8))
    file = io.BytesIO()
    crop.resize((side // 2, side // 2), Image.Resampling.BICUBIC).save(file, "JPEG", quality=75)
    return torch.from_numpy(np.asarray(Image.open(file), dtype=np.float32))


@pytest.fixture(scope="module")
def benchmark_pictures(benchmarks_folder):
    """Set and file → gray levels."""
    return {
        f"{name}/{file.name}": read_gray(file)
        for name in BENCHMARKS
        for file in picture_files([benchmarks_folder / name])
    }


def test_no_benchmark_picture_is_trained_on(benchmarks_folder, benchmark_pictures):
    """Copies that are planted among the training pictures are found; others there may not be."""
    folder = benchmarks_folder.parent / "train"
    if not folder.is_dir():
        pytest.skip(f"training data not found: {folder} is no folder; set HCD_DATA")
    rng = np.random.default_rng(0)
    names = rng.choice(sorted(benchmark_pictures), PLANTED, replace=False)
    pictures = [(f"copy of {name}", half_size_crop(benchmark_pictures[name], rng)) for name in names]
    pictures += [(str(file.relative_to(folder)), read_gray(file)) for file in picture_files([folder])]
    matches = KnownPictures(benchmark_pictures).matches(pictures)

    copies = {(match.picture, match.known) for match in matches if match.agreement > COPY}
    planted = {(f"copy of {name}", name) for name in names}
    assert planted <= copies
    # The line between copies and strangers is no matter of taste: nothing is near it.
    assert [match for match in matches if COPY - 0.05 < match.agreement <= COPY] == []
    assert copies == planted


def test_pictures_that_two_benchmarks_share_are_found(benchmark_pictures):
    """The head of Set5 is the face of Set14, and its butterfly a part of the monarch there."""
    first = [(name, gray) for name, gray in benchmark_pictures.items() if name.startswith("Set5/")]
    known = KnownPictures({name: gray for name, gray in benchmark_pictures.items() if name.startswith("Set14/")})
    copies = {(match.picture, match.known) for match in known.matches(first) if match.agreement > COPY}
    assert copies == {("Set5/img_004.png", "Set14/img_006.png"), ("Set5/img_003.png", "Set14/img_011.png")}
