"""Read and write more than eight bits per sample through libvips, where Pillow is limited to eight."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from hcd.errors import ImageError, MissingDependencyError
from hcd.image.color import from_float
from hcd.image.limits import check_pixels
from hcd.image.picture import Picture

# libvips' names of the color spaces whose samples need no conversion.
_AS_THEY_ARE = ("rgb16", "grey16", "rgb", "srgb", "b-w", "scrgb", "multiband")
_SCALES = {"uchar": 255.0, "ushort": 65535.0, "float": 1.0, "double": 1.0}


def vips() -> Any | None:
    """Import ``pyvips``; return None if the extra ``vips`` is not installed."""
    try:
        import pyvips
    except (ImportError, OSError):
        return None
    # The cache is keyed by name, so that it would return the old content of a file that was overwritten.
    pyvips.cache_set_max(0)
    return pyvips


def need_vips() -> Any:
    """Import ``pyvips``.

    Raises:
        MissingDependencyError: the extra ``vips`` is not installed.
    """
    found = vips()
    if found is None:
        raise MissingDependencyError("16 bits per sample need the extra 'vips'; pip install 'hcd[vips]', or use 8 bits")
    return found


def read_high_bit_depth(file: BinaryIO, path: Path, max_pixels: int, *, premultiplied: bool = False) -> Picture | None:
    """Read a picture at full precision, as stored, before orientation; return None if libvips cannot.

    Args:
        premultiplied: whether colors are stored multiplied by alpha.

    Raises:
        ImageError: damaged, too large, or NaN or infinite samples.
    """
    pyvips = vips()
    if pyvips is None:
        return None
    file.seek(0)
    data = file.read()
    try:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
        check_pixels(image.width, image.height, path, max_pixels)
        alpha = image.hasalpha()
        if image.interpretation not in _AS_THEY_ARE or image.format not in _SCALES or image.bands - alpha not in (1, 3):
            return None
        scale = _SCALES[image.format]
        samples = image.numpy().reshape(image.height, image.width, image.bands)
        icc = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    except pyvips.Error as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"{path}: damaged or truncated ({reason[:200]}); fetch it again") from error
    samples = samples.astype(np.float32) / scale
    if alpha and premultiplied:
        samples[..., :-1] /= samples[..., -1:].clip(1 / 65535)
        samples = samples.clip(0, 1)
    return from_float(samples, alpha=alpha, icc=icc, path=path)


def encode_png16(picture: Picture, **options: Any) -> bytes:
    """Encode a PNG of 16 bits per sample.

    Args:
        **options: metadata, as Pillow's options for PNG.

    Raises:
        MissingDependencyError: the extra ``vips`` is not installed.
    """
    pyvips = need_vips()
    samples = picture.samples(65535)
    image = pyvips.Image.new_from_array(samples).copy(interpretation="grey16" if picture.gray else "rgb16")
    chunks = _chunks(image.pngsave_buffer(compression=9, bitdepth=16, keep="none"))
    # libvips would generate its own EXIF; Pillow's chunks are the same as in 8-bit files.
    buffer = io.BytesIO()
    Image.new("L" if picture.gray else "RGB", (1, 1)).save(buffer, "PNG", **options)
    carried = [(name, body) for name, body in _chunks(buffer.getvalue()) if name not in (b"IHDR", b"IDAT", b"IEND")]
    pixels = [(name, body) for name, body in chunks if name in (b"IDAT", b"IEND")]
    early = [(name, body) for name, body in carried if name != b"eXIf"]
    late = [(name, body) for name, body in carried if name == b"eXIf"]
    parts = [chunks[0], *early, *late, *pixels]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Return names and bodies of a PNG's chunks."""
    found, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found
