"""Files that are damaged, no pictures at all, or made to do harm: an ImageError each, nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hcd.errors import HcdError, ImageError
from hcd.image import LRInfo, Picture, encode_lr, read_lr, read_picture
from hcd.image.color import from_pillow
from tests.image.kinds import KINDS
from tests.image.samples import chunk, noise, png, saved, with_valid_checksums


@contextlib.contextmanager
def deadline(seconds):
    """Fail instead of hanging."""

    def fail(*_):
        raise AssertionError(f"still not back after {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _lr_file(suffix):
    rgb = from_pillow(Image.fromarray(noise(8, 9)), None).rgb
    info = LRInfo(model="bicubic-x2", weights="", scale=2, width=17, height=16, latent="zeros")
    return encode_lr(Picture(rgb=rgb, alpha=rgb[:, :1]), info, suffix)


def _samples():
    image, exif = Image.fromarray(noise(24, 20)), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    palette = Image.fromarray(noise(9, 8, 1)[..., 0]).convert("P")
    palette.putpalette(noise(256, 3, 1).tobytes())
    return {
        "png": saved(image, "PNG"),
        "png-palette": saved(palette, "PNG", transparency=bytes(range(256))),
        "png-gray16": png(np.arange(64, dtype=">u2").reshape(8, 8), 0),
        "jpeg": saved(image, "JPEG", exif=exif),
        "jpeg-progressive": saved(image, "JPEG", progressive=True),
        "jpeg-cmyk": saved(image.convert("CMYK"), "JPEG"),
        "webp": saved(image, "WEBP", exif=exif),
        "webp-lossless": saved(image.convert("RGBA"), "WEBP", lossless=True),
        "bmp": saved(image, "BMP"),
        "bmp-palette": saved(palette, "BMP"),
        "tiff": saved(image, "TIFF"),
        "tiff-deflate": saved(image, "TIFF", compression="tiff_deflate"),
        "tiff-lzw": saved(image, "TIFF", compression="tiff_lzw"),
        "tiff-fax": saved(image.convert("1"), "TIFF", compression="group4"),
        "lr-png": _lr_file(".png"),
        "lr-webp": _lr_file(".webp"),
    }


SAMPLES = _samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_anywhere(tmp_path, name):
    data = SAMPLES[name]
    whole = tmp_path / "whole"
    whole.write_bytes(data)
    size = read_picture(whole).rgb.shape
    path = tmp_path / "cut"
    for length in np.linspace(0, len(data) - 1, 40).astype(int):
        path.write_bytes(data[:length])
        with contextlib.suppress(ImageError):
            # A file whose last bytes matter little may still be read, but never as another size.
            assert read_picture(path).rgb.shape == size


@pytest.mark.parametrize("name", SAMPLES)
def test_half_a_file_is_refused(tmp_path, name):
    path = tmp_path / "half"
    path.write_bytes(SAMPLES[name][: len(SAMPLES[name]) // 2])
    with pytest.raises(ImageError, match="half: "):
        read_picture(path)


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.booleans(), st.integers(1, 255)), min_size=1),
    checksums=st.booleans(),
)
def test_flipped_bits_give_a_picture_or_our_error(tmp_path, name, flips, checksums):
    data = bytearray(SAMPLES[name])
    for share, near_the_start, bits in flips:
        # Headers are where parsers go wrong, and they are few among the bytes.
        reach = min(len(data), 300) if near_the_start else len(data)
        data[int(share * reach)] ^= bits
    if checksums and name in ("png", "png-palette", "png-gray16", "lr-png"):
        data = with_valid_checksums(bytes(data))
    path = tmp_path / "flipped"
    path.write_bytes(data)
    with contextlib.suppress(HcdError):
        picture, _ = read_lr(path)
        assert picture.rgb.min() >= 0
        assert picture.rgb.max() <= 1
    with contextlib.suppress(ImageError):
        read_picture(path)


def _exif(kind, value):
    """EXIF by hand: a description of any type, and an orientation of 6, which turns the picture."""
    entries = struct.pack("<HHII", 0x010E, kind, 1, value) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<III", 0, 1, 2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("tag_type", [1, 3, 5, 7, 10, 11, 12, 13, 99])
def test_tag_of_an_unexpected_type_is_no_reason_to_fail(tmp_path, kind, tag_type):
    path = tmp_path / "photo"
    path.write_bytes(saved(Image.fromarray(noise(8, 6)), kind, exif=_exif(tag_type, 38)))
    for picture in (read_picture(path), read_lr(path)[0]):
        assert (picture.width, picture.height) == (8, 6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("byte", [6, 8, 10, 14, 18, 22, 28])
def test_damaged_exif_is_no_reason_to_fail(tmp_path, kind, byte):
    """The pixels are whole; what cannot be read of EXIF is left out."""
    exif = bytearray(_exif(2, 38))
    exif[byte] ^= 0xFF
    path = tmp_path / "photo"
    path.write_bytes(saved(Image.fromarray(noise(8, 6)), kind, exif=bytes(exif)))
    for picture in (read_picture(path), read_lr(path)[0]):
        assert {picture.width, picture.height} == {8, 6}


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\0" * 5000, b"not a picture\n", b"%PDF-1.7\n", b"\x89PNG\r\n\x1a\n"],
    ids=["empty", "zero", "zeros", "text", "pdf", "signature"],
)
def test_what_is_no_picture(tmp_path, content):
    path = tmp_path / "text.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"text\.png: ") as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.png: no such file"):
        read_picture(tmp_path / "nowhere.png")


def test_directory(tmp_path):
    with pytest.raises(ImageError, match="not a regular file"):
        read_picture(tmp_path)


def test_below_a_regular_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="no such file"):
        read_picture(tmp_path / "file" / "photo.png")


def test_name_too_long_for_the_file_system(tmp_path):
    with pytest.raises(ImageError, match="name too long"):
        read_picture(tmp_path / ("x" * 300 + ".png"))


def test_link_to_itself(tmp_path):
    path = tmp_path / "loop.png"
    path.symlink_to(path)
    with pytest.raises(ImageError, match=r"loop\.png: "):
        read_picture(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_fifo_does_not_hang(tmp_path):
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    with deadline(5), pytest.raises(ImageError, match=r"pipe\.png: not a regular file"):
        read_picture(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(SAMPLES["png"])
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        read_picture(path)


@pytest.mark.parametrize("side", [10_000, 20_000, 1_000_000, 2**31 - 1])
def test_decompression_bomb(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(noise(1, 1), 2, width=side, height=side))
    with deadline(5), pytest.raises(ImageError, match=r"bomb\.png: .*(megapixels|damaged)"):
        read_picture(path)


def test_size_zero(tmp_path):
    data = bytearray(png(noise(1, 1), 2))
    data[16:24] = struct.pack(">II", 0, 0)
    path = tmp_path / "empty.png"
    path.write_bytes(with_valid_checksums(bytes(data)))
    with pytest.raises(ImageError, match=r"empty\.png: "):
        read_picture(path)


_BOMB = zlib.compress(b"\0" * 2**23)


@pytest.mark.parametrize(
    "text", [chunk(b"zTXt", b"hcd\0\0" + _BOMB), chunk(b"iTXt", b"hcd\0\1\0\0\0" + _BOMB)], ids=["zTXt", "iTXt"]
)
def test_text_that_unpacks_to_megabytes(tmp_path, text):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(noise(4, 4), 2, text))
    for read in (read_picture, read_lr):
        with deadline(5), pytest.raises(HcdError, match=r"bomb\.png: "):
            read(path)


def test_many_texts_that_unpack_to_much(tmp_path):
    one = chunk(b"zTXt", b"hcd\0\0" + zlib.compress(b"a" * (2**20 - 1)))
    path = tmp_path / "bomb.png"
    path.write_bytes(png(noise(4, 4), 2, one * 80))
    with deadline(5), pytest.raises(ImageError, match=r"bomb\.png: "):
        read_picture(path)


def test_profile_that_unpacks_to_megabytes(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(noise(4, 4), 2, chunk(b"iCCP", b"profile\0\0" + _BOMB)))
    with deadline(5), contextlib.suppress(ImageError):
        assert read_picture(path).icc is None


def test_message_names_a_file_with_an_odd_name(tmp_path):
    path = tmp_path / os.fsdecode(b"odd \xff\n name.png")
    path.write_bytes(b"text")
    with pytest.raises(ImageError) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin"])
def test_device(path):
    if not os.path.exists(path) or os.path.isfile(path):
        pytest.skip("not there, or redirected")
    with deadline(5), pytest.raises(ImageError, match="not a regular file"):
        read_picture(path)


def test_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("photo.png")
        with deadline(5), pytest.raises(ImageError, match="not a regular file"):
            read_picture("photo.png")


def test_name_with_a_zero_byte():
    with pytest.raises(ImageError, match="cannot be the name of a file"):
        read_picture("photo\0.png")


def test_what_becomes_a_pipe_after_it_was_looked_at(tmp_path, monkeypatch):
    """The path may lead elsewhere by the time it is opened."""
    path = tmp_path / "photo.png"
    os.mkfifo(path)
    regular, looked = os.stat(__file__), os.stat
    monkeypatch.setattr(os, "stat", lambda name, **more: regular if name == path else looked(name, **more))
    with deadline(5), pytest.raises(ImageError, match="not a regular file"):
        read_picture(path)


def test_file_that_cannot_be_read_for_permission(tmp_path, monkeypatch):
    """Also where root runs the tests, who may read everything."""
    path = tmp_path / "secret.png"
    path.write_bytes(SAMPLES["png"])

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError, match=r"secret\.png: no permission to read it; "):
        read_picture(path)


def test_file_that_vanishes_while_it_is_read(tmp_path, monkeypatch):
    """As on a network drive that goes away."""
    path = tmp_path / "photo.png"
    path.write_bytes(SAMPLES["png"])

    def gone(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Image, "open", gone)
    with pytest.raises(ImageError, match=r"photo\.png: .*Input/output error"):
        read_picture(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".heic", ".jxl", ".bmp"])
@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "bmp"])
def test_wrong_suffix_is_no_reason_to_fail(tmp_path, name, suffix):
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(SAMPLES[name])
    assert {read_picture(path).width, read_picture(path).height} == {24, 20}


def test_only_the_formats_own_decoder_sees_a_file(tmp_path):
    """Formats of which Pillow knows many more are refused by their first bytes."""
    for kind in ("GIF", "PPM", "ICO", "TGA", "PCX", "SGI", "JPEG2000"):
        path = tmp_path / "photo.png"
        path.write_bytes(saved(Image.fromarray(noise(16, 16)), kind))
        with pytest.raises(ImageError, match="not a picture of a known format"):
            read_picture(path)


KIND_FILES = {f"{kind.format}-{kind.mode}".replace(" ", "-"): kind for kind in KINDS}


@pytest.mark.parametrize("name", KIND_FILES)
def test_every_kind_truncated(tmp_path, name):
    """At a quarter, half and three quarters: refused, or read in its own size."""
    data = KIND_FILES[name].make()
    path = tmp_path / "cut"
    for share in (0.02, 0.25, 0.5, 0.75):
        path.write_bytes(data[: int(share * len(data))])
        with contextlib.suppress(ImageError):
            assert {read_picture(path).width, read_picture(path).height} == {30, 43}


def _bloated(kind, size):
    exif = Image.Exif()
    exif[0x010E] = "x" * size
    return saved(Image.fromarray(noise(8, 6)), kind, exif=exif)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("size", [10**5, 10**7])
def test_huge_exif_is_left_out_and_said(tmp_path, kind, size):
    path = tmp_path / "photo"
    path.write_bytes(_bloated(kind, size))
    with deadline(20):
        picture = read_picture(path)
    assert picture.exif is None
    assert "EXIF" in picture.warnings[0]
    assert picture.width == 6


def test_huge_xmp_and_profile_are_left_out(tmp_path, icc):
    path = tmp_path / "photo"
    path.write_bytes(
        saved(Image.fromarray(noise(8, 6)), "WEBP", xmp=b"x" * 10**7, icc_profile=icc + bytes(10**7), lossless=True)
    )
    picture = read_picture(path)
    assert (picture.xmp, picture.icc) == (None, None)
    assert len(picture.warnings) == 2
