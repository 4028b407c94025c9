"""Encoding pictures in memory, with a comment where the format holds one."""

from __future__ import annotations

import io
import math
from typing import Any

from PIL import Image, PngImagePlugin

from hcd.errors import OutputError, UsageError, unknown_name
from hcd.image.picture import Picture
from hcd.image.read import exif_value

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
_LARGEST_SIDE = {"WEBP": 16383, "JPEG": 65500}
_EXIF_IMAGE_DESCRIPTION = 0x010E


def encode(picture: Picture, suffix: str, *, comment: tuple[str, str] | None = None) -> bytes:
    """The bytes of a picture file: lossless, but for JPEG (quality 95, no alpha).

    Args:
        suffix: ``.png``, ``.webp``, ``.tif``, ``.tiff``, ``.bmp``, ``.jpg`` or ``.jpeg``.
        comment: keyword and ASCII text stored in the file; PNG (iTXt chunk) and WebP (EXIF
            ImageDescription, as ``keyword text``) only.

    Raises:
        UsageError: unknown suffix, or one that cannot hold the comment.
        OutputError: the picture is too large for the format.
    """
    if suffix not in _PILLOW_FORMATS:
        raise UsageError(unknown_name("picture suffix", suffix, _PILLOW_FORMATS))
    if comment is not None and suffix not in LOSSLESS_SUFFIXES:
        raise UsageError(f"'{suffix}': cannot hold an LR picture; use {' or '.join(LOSSLESS_SUFFIXES)}")
    image = picture.to_pillow()
    kind = _PILLOW_FORMATS[suffix]
    options: dict[str, Any] = {}
    # A profile for another number of channels would make the file invalid.
    if picture.icc and kind != "BMP" and picture.icc[16:20] == (b"GRAY" if picture.gray else b"RGB "):
        options["icc_profile"] = picture.icc
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
    if kind in ("JPEG", "BMP"):
        image = image.convert("L" if picture.gray else "RGB")
    buffer = io.BytesIO()
    if max(image.size) > _LARGEST_SIDE.get(kind, math.inf):
        raise OutputError(
            f"{image.width}×{image.height} pixels do not fit into a {kind} file, whose sides are at most "
            f"{_LARGEST_SIDE[kind]}; use .png"
        )
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def read_comment(image: Image.Image, keyword: str) -> str | None:
    """The text stored under ``keyword`` by :func:`encode`, or None."""
    text = image.info.get(keyword)
    if text is None:
        described = exif_value(image, _EXIF_IMAGE_DESCRIPTION)
        if isinstance(described, str) and described.startswith(keyword + " "):
            text = described[len(keyword) + 1 :]
    return str(text) if text is not None else None
