"""Writing pictures: encoded in memory, written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from hcd.errors import ImageError, UsageError, unknown_name
from hcd.image.picture import Picture

_PILLOW_FORMATS = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
LOSSLESS_SUFFIXES = (".png", ".webp")
_EXIF_IMAGE_DESCRIPTION = 0x010E


def encode(picture: Picture, suffix: str, *, comment: tuple[str, str] | None = None) -> bytes:
    """The bytes of a picture file: lossless, but for JPEG (quality 95, no alpha).

    Args:
        suffix: ``.png``, ``.webp``, ``.tif``, ``.tiff``, ``.bmp``, ``.jpg`` or ``.jpeg``.
        comment: keyword and ASCII text stored in the file; PNG (iTXt chunk) and WebP (EXIF
            ImageDescription, as ``keyword text``) only.

    Raises:
        UsageError: unknown suffix, or one that cannot hold the comment.
    """
    if suffix not in _PILLOW_FORMATS:
        raise UsageError(unknown_name("picture suffix", suffix, _PILLOW_FORMATS))
    if comment is not None and suffix not in LOSSLESS_SUFFIXES:
        raise UsageError(f"'{suffix}': cannot hold an LR picture; use {' or '.join(LOSSLESS_SUFFIXES)}")
    image = picture.to_pillow()
    kind = _PILLOW_FORMATS[suffix]
    options: dict[str, Any] = {"icc_profile": picture.icc} if picture.icc and kind != "BMP" else {}
    if kind == "PNG":
        options["optimize"] = True
        if comment is not None:
            chunks = PngImagePlugin.PngInfo()
            chunks.add_itxt(*comment)
            options["pnginfo"] = chunks
    elif kind == "WEBP":
        # "exact" keeps the colors under transparent pixels, which the network reads like any other.
        options |= {"lossless": True, "quality": 100, "exact": True}
        if comment is not None:
            exif = Image.Exif()
            exif[_EXIF_IMAGE_DESCRIPTION] = " ".join(comment)
            options["exif"] = exif
    elif kind == "TIFF":
        options["compression"] = "tiff_deflate"
    elif kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
        image = image.convert("L" if picture.gray else "RGB")
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def read_comment(image: Image.Image, keyword: str) -> str | None:
    """The text stored under ``keyword`` by :func:`encode`, or None."""
    text = image.info.get(keyword)
    if text is None:
        described = image.getexif().get(_EXIF_IMAGE_DESCRIPTION)
        if isinstance(described, str) and described.startswith(keyword + " "):
            text = described[len(keyword) + 1 :]
    return str(text) if text is not None else None


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either absent (or as it was) or whole. Missing folders are made.

    Raises:
        ImageError: the folder or file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from error
