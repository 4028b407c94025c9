"""Files made to do harm, given to both commands: one line that names the file, and nothing left behind."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest
from PIL import Image

from hcd.image import encode, read_lr
from tests.cli.checks import assert_one_line, files_in
from tests.fuzz.memory import peak, start_peak
from tests.image.kinds import KINDS
from tests.image.samples import saved

PLAIN = ("--model", "bicubic-x2", "--preset", "plain")
FILES = {f"{kind.format}-{kind.mode}": kind for kind in KINDS}
COMMANDS = pytest.mark.parametrize(
    ("command", "options"), [("downscale", PLAIN), ("upscale", ("--model", "bicubic-x2")), ("upscale", ())]
)


def with_numbers(data, mark, offset, numbers):
    """The file with these packed numbers so many bytes after the first mark."""
    at = data.index(mark) + offset
    return data[:at] + numbers + data[at + len(numbers) :]


def _tiff_bomb():
    """Width and height are the first entries of the directory; as long integers, whatever they were."""
    data = FILES["TIFF-RGB"].make()
    for tag in (256, 257):
        data = with_numbers(data, struct.pack("<H", tag), 2, struct.pack("<HII", 4, 1, 100_000))
    return data


# Pictures of a few pixels whose headers say that they have billions.
BOMBS = {
    "png": lambda: with_numbers(FILES["PNG-RGB"].make(), b"IHDR", 4, struct.pack(">II", 60000, 60000)),
    "jpeg": lambda: with_numbers(FILES["JPEG-RGB"].make(), b"\xff\xc0", 5, struct.pack(">HH", 65500, 65500)),
    "webp": lambda: with_numbers(FILES["WebP-RGB"].make(), b"VP8X", 12, b"\xfe\x3f\0\xfe\x3f\0"),
    "webp-lossless": lambda: with_numbers(
        saved(Image.new("RGB", (9, 9)), "WEBP", lossless=True), b"VP8L", 9, struct.pack("<I", 0x0FFFFFFF)
    ),
    "bmp": lambda: with_numbers(FILES["BMP-RGB"].make(), b"BM", 18, struct.pack("<ii", 60000, 60000)),
    "tiff": _tiff_bomb,
    "avif": lambda: with_numbers(FILES["AVIF-RGB"].make(), b"ispe", 8, struct.pack(">II", 60000, 60000)),
    "heif": lambda: with_numbers(FILES["HEIF-RGB"].make(), b"ispe", 8, struct.pack(">II", 60000, 60000)),
}


@COMMANDS
@pytest.mark.parametrize("name", BOMBS)
def test_headers_that_lie(hcd, tmp_path, name, command, options):
    """Refused without the memory that the header asks for."""
    path = tmp_path / "photo.png"
    path.write_bytes(BOMBS[name]())
    counted = start_peak()
    before = peak() if counted else 0
    result = hcd(command, path, "-o", tmp_path / "out", *options)
    assert_one_line(result, 1, path)
    assert files_in(tmp_path / "out") == []
    assert not counted or peak() - before < 200 * 2**20


@COMMANDS
@pytest.mark.parametrize("name", ["PNG-RGB", "JPEG-RGB", "WebP-RGBA", "BMP-RGB", "TIFF-Lab", "AVIF-RGB", "HEIF-RGB"])
def test_broken_downloads(hcd, tmp_path, name, command, options):
    data = FILES[name].make()
    path = tmp_path / f"photo{FILES[name].suffix}"
    path.write_bytes(data[: len(data) // 2])
    assert_one_line(hcd(command, path, "-o", tmp_path / "out", *options), 1, path)
    assert files_in(tmp_path / "out") == []


@pytest.mark.slow
def test_decoders_that_talk_themselves(tmp_path):
    """In a process of its own: Pillow logs some damage, and what nobody handles Python prints."""
    path = tmp_path / "photo.tif"
    path.write_bytes(with_numbers(FILES["TIFF-RGB"].make(), struct.pack("<HH", 277, 3), 8, struct.pack("<H", 18691)))
    command = [sys.executable, "-m", "hcd", "downscale", path, "-o", tmp_path / "out", *PLAIN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {path}: ")


@pytest.fixture
def attacked(hcd, photo_file, tmp_path):
    """``attacked(text)`` is an LR file with any text in the place of its metadata."""
    lr = tmp_path / "lr.png"
    assert hcd("downscale", photo_file(), "-o", lr, *PLAIN).exit_code == 0

    def write(text, suffix=".png"):
        path = tmp_path / f"attacked{suffix}"
        path.write_bytes(encode(read_lr(lr)[0], suffix, comment=("hcd", text)))
        return path

    return write


GOOD = {
    **{"version": 1, "model": "bicubic-x2", "weights": "", "scale": 2},
    **{"width": 24, "height": 20, "latent": "zeros", "gray": False},
}


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "../../../../etc/passwd"},
        {"model": "spandrel:/etc/passwd"},
        {"model": "\x1b[31mred\n"},
        {"weights": "../x" * 20},
        {"scale": 10**9, "width": 10**9, "height": 10**9},
        {"width": 10**400},
        {"latent": ["zeros"]},
        {"version": 2},
        {"version": 10**300},
        {"depth": 10**9},
    ],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_fields_of_an_attacker(hcd, attacked, tmp_path, fields, suffix):
    path = attacked(json.dumps({**GOOD, **fields}), suffix)
    result = hcd("upscale", path, "-o", tmp_path / "out")
    assert_one_line(result, 1, path)
    assert len(result.stderr) < 1000
    assert files_in(tmp_path / "out") == []
    # And with a model by name they do not matter.
    assert hcd("upscale", path, "-o", tmp_path / "out", "--model", "bicubic-x2").exit_code == 0


@pytest.mark.parametrize(
    "text",
    ["[" * 4000, '{"a":' * 700, json.dumps({**GOOD, "more": "x" * 10**6}), "NaN", '"x"', "{", "\\ud800"],
    ids=["nested", "nested-objects", "huge", "nan", "string", "cut", "surrogate"],
)
def test_texts_of_an_attacker(hcd, attacked, tmp_path, text):
    path = attacked(text)
    assert_one_line(hcd("upscale", path, "-o", tmp_path / "out"), 1, path)
    assert files_in(tmp_path / "out") == []


@COMMANDS
def test_what_cannot_be_opened(hcd, photo_file, tmp_path, monkeypatch, command, options):
    """Read by nobody, and gone between listing and reading."""
    for error in (PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such file or directory")):
        path = photo_file()

        def refuse(*_, error=error):
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refuse)
            result = hcd(command, path, "-o", tmp_path / "out", *options)
        assert_one_line(result, 1, path)
        assert files_in(tmp_path / "out") == []
