"""What is known of a file before a decoder sees it."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hcd.errors import ImageError
from hcd.image import read_picture
from hcd.image.headers import read_header
from tests.image.kinds import KINDS
from tests.image.samples import noise, png, saved

NAMES = {"JPEG XL": "JXL", "WebP": "WEBP"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.format}-{kind.mode}")
def test_every_kind_is_known_by_its_content(kind):
    file = io.BytesIO(kind.make())
    header = read_header(file)
    assert header.kind == NAMES.get(kind.format, kind.format)
    assert file.tell() == 0
    if kind.format in ("PNG", "AVIF"):
        assert header.depth == int(kind.mode.split("-")[0]) if "-bit" in kind.mode else header.depth == 8


@pytest.mark.parametrize("size", [(1, 1), (300, 7), (16, 2000), (640, 480), (8, 8), (512, 256)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JXL", {}),
        ("JXL", {"use_container": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"xmp": b"x"}),
    ],
)
def test_sizes_of_the_formats_that_are_decoded_at_once(kind, options, size):
    header = read_header(io.BytesIO(saved(Image.new("RGB", size), kind, **options)))
    assert header.size == size


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n", b"RIFF....WEBPVP8X"]))
def test_any_bytes_have_a_header_or_none(data, start):
    header = read_header(io.BytesIO(start + data))
    assert header is None or header.size is None or min(header.size) >= 0


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**40])
def test_a_box_that_ends_beyond_the_file(length):
    """Found by guided mutation: a length of 64 bits is more than a file can be sought to."""
    box = struct.pack(">I4sQ", 1, b"NaNl", length)
    header = read_header(io.BytesIO(b"\0\0\0\x0cJXL \r\n\x87\n" + box + bytes(40)))
    assert header.size == (0, 0)


def webp_bomb():
    body = b"\0" * 4 + (16382).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBPVP8X" + struct.pack("<I", len(body)) + body


def jxl_bomb():
    """A codestream that says 2**30 × 2**30 pixels."""
    bits = 0 | 3 << 1 | (2**30 - 1) << 3 | 0 << 33 | 3 << 36 | (2**30 - 1) << 38
    return b"\xff\x0a" + bits.to_bytes(20, "little")


@pytest.mark.parametrize(
    "data",
    [
        webp_bomb(),
        jxl_bomb(),
        png(noise(1, 1), 2, width=20000, height=20000),
        saved(Image.new("1", (14000, 14000)), "PNG"),
    ],
    ids=["webp", "jxl", "png", "whole"],
)
def test_too_many_pixels_are_refused_before_decoding(tmp_path, data):
    path = tmp_path / "bomb"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"bomb: .* megapixels, more than the 179 megapixels allowed; .*--max-pixels"):
        read_picture(path)


def test_max_pixels_allows_and_refuses(tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(saved(Image.new("RGB", (30, 20)), "PNG"))
    assert read_picture(path, max_pixels=600).width == 30
    with pytest.raises(ImageError, match="30×20 pixels"):
        read_picture(path, max_pixels=599)


def test_a_picture_beyond_pillows_own_limit_is_read_where_it_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = tmp_path / "photo"
    path.write_bytes(saved(Image.new("RGB", (30, 20)), "TIFF"))
    assert read_picture(path).width == 30
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_file_far_larger_than_its_pixels_can_be(tmp_path):
    """Sparse, so it takes no room; nothing of it is read."""
    path = tmp_path / "photo.png"
    with path.open("wb") as file:
        file.write(saved(Image.new("RGB", (3, 2)), "PNG"))
        file.truncate(2**33)
    with pytest.raises(ImageError, match=r"8589934592 bytes are more than"):
        read_picture(path)
