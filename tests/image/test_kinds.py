"""Every kind of file goes the whole way, and the page that says so is what came of it."""

from __future__ import annotations

import pytest

from tests.image.kinds import HEIGHT, KINDS, WIDTH, send
from tests.image.tables import PAGE, with_tables


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.format}-{kind.mode}".replace(" ", "-"))
def test_there_and_back(tmp_path, kind):
    way = send(kind, tmp_path)
    back = way.restored
    assert (back.width, back.height) == (WIDTH, HEIGHT)
    assert back.gray == kind.gray
    assert (back.alpha is not None) == (kind.channels in (2, 4))
    assert way.alpha_error < 0.01
    # Upright as well: a picture that was turned or mirrored is far below it.
    assert way.psnr > kind.floor
    for carried in ("icc", "exif", "xmp"):
        assert getattr(back, carried) == getattr(way.read, carried), carried
    # PNG counts whole pixels per meter.
    assert back.dpi == pytest.approx(way.read.dpi, abs=0.02) if way.read.dpi else back.dpi is None
    assert back.warnings == ()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "16-bit RGB" in kind.mode], ids=lambda kind: kind.format)
def test_sixteen_bits_there_and_back(tmp_path, kind):
    eight, sixteen = send(kind, tmp_path), send(kind, tmp_path, depth=16)
    assert sixteen.restored.depth == 16
    assert eight.restored.depth == 8
    # Between the levels of 8 bits.
    assert ((sixteen.restored.rgb * 255) % 1).std() > 0.2
    assert sixteen.psnr > eight.psnr


def test_the_page_is_what_the_tests_made():
    """If this fails for a good reason: ``python -m tests.image.tables``, and read the difference."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page
