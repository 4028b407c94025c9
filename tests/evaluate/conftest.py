"""Fixtures that the evaluation tests share."""

from __future__ import annotations

import pytest
import skimage.data
from PIL import Image


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of two small crops of photographs, and a text file that is none of its business."""
    folder = tmp_path_factory.mktemp("set")
    photograph = skimage.data.chelsea()
    Image.fromarray(photograph[90:138, 150:214]).save(folder / "eye.png")
    # Sides that are no multiples of the scale.
    Image.fromarray(photograph[160:207, 200:253]).save(folder / "nose.bmp")
    (folder / "notes.txt").write_text("not a picture")
    return folder
