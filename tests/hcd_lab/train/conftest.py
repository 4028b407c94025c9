"""Fixtures that the training tests share."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hcd_lab.train import Patches, picture_files
from tests.hcd_lab.train.tiny import TINY


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder, with a folder in it, of three pictures of 48×40 pixels, one of 17×90 and one that is too small."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "more").mkdir()
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate([(48, 40), (48, 40), (48, 40), (17, 90), (15, 60)]):
        rows, columns = np.mgrid[:height, :width]
        waves = [np.sin(columns / (2 + index) + c) * np.cos(rows / (3 + c)) for c in range(3)]
        samples = 127 + 100 * np.stack(waves, axis=-1) + rng.normal(0, 4, (height, width, 3))
        name = f"more/{index}.png" if index % 2 else f"{index}.png"
        Image.fromarray(samples.clip(0, 255).astype(np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture(scope="session")
def files(data):
    """The five pictures of ``data``."""
    return picture_files([data])


@pytest.fixture(scope="session")
def patches(files):
    """Patches of side 16 at scale 2."""
    return Patches(files, scale=2, smallest=16)


@pytest.fixture
def recipe():
    """Six steps of one coupling."""
    return TINY
