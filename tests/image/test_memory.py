"""Reading takes memory for the pixels that there are: what ``--max-pixels`` allows bounds it."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np
import pytest
from PIL import Image

from hcd.image import read_picture
from tests.fuzz.memory import peak, start_peak
from tests.image.kinds import vips
from tests.image.samples import saved

HEIGHT, WIDTH = 900, 1200
# docs/pictures.md says so; the rest is what decoders take whatever the size.
BYTES_PER_PIXEL, REST = 100, 24 * 2**20
_SHADES = np.linspace(0, 1, HEIGHT)[:, None, None] * np.linspace(0, 1, WIDTH)[:, None] * np.ones(4)
_EIGHT, _SIXTEEN = (_SHADES * 255).astype(np.uint8), (_SHADES * 65535).astype(np.uint16)
FILES = {
    "PNG-RGBA": lambda: saved(Image.fromarray(_EIGHT), "PNG"),
    "PNG-16-bit RGBA": lambda: vips(_SIXTEEN, ".png"),
    "JPEG-CMYK": lambda: saved(Image.fromarray(_EIGHT[..., :3]).convert("CMYK"), "JPEG"),
    "WebP-RGBA": lambda: saved(Image.fromarray(_EIGHT), "WEBP"),
    "TIFF-float32 RGBA": lambda: vips(_SHADES.astype(np.float32), ".tif"),
    "AVIF-RGBA": lambda: saved(Image.fromarray(_EIGHT), "AVIF"),
    "HEIF-RGB": lambda: saved(Image.fromarray(_EIGHT[..., :3]), "HEIF"),
    "JPEG XL-RGB": lambda: saved(Image.fromarray(_EIGHT[..., :3]), "JXL"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_reading_takes_a_hundred_bytes_per_pixel_at_most(tmp_path, name):
    path = tmp_path / "photo"
    path.write_bytes(FILES[name]())
    # What was freed before is given back, so that none of it is used without being seen.
    trim = getattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim", None)
    if trim is None or not start_peak():
        pytest.skip("this system does not count peaks anew")
    trim(0)
    start_peak()
    before = peak()
    picture = read_picture(path)
    assert (picture.height, picture.width) == (HEIGHT, WIDTH)
    taken = peak() - before
    assert 12 * HEIGHT * WIDTH <= taken <= BYTES_PER_PIXEL * HEIGHT * WIDTH + REST
