"""Picture files made in code: NumPy samples in, bytes of a file out."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 ``[height, width, channels]``, every value possible."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file that Pillow makes of an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """One PNG chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(samples: np.ndarray, color_type: int, *extra: bytes, width: int = 0, height: int = 0) -> bytes:
    """A PNG by hand of uint8 or big-endian uint16 samples; ``extra`` chunks go before the pixels.

    ``width`` and ``height`` are what the header claims, where that is not the truth.
    """
    depth = 8 * samples.dtype.itemsize
    size = struct.pack(">II", width or samples.shape[1], height or samples.shape[0])
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    header = chunk(b"IHDR", size + bytes([depth, color_type, 0, 0, 0]))
    return b"".join((SIGNATURE, header, *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")))


def with_valid_checksums(data: bytes) -> bytes:
    """A damaged PNG whose checksums are right again, so that the damage reaches the parsers behind them."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        if at + 12 + length > len(data):
            break
        out += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return out + data[at:]
