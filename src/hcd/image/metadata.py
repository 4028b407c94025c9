"""Metadata kept from the original to the restored picture: EXIF, XMP and resolution."""

from __future__ import annotations

import math
import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from hcd.image.limits import MAX_EXIF, MAX_XMP

DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, TypeError, IndexError, OverflowError)
_DAMAGE = (*DAMAGE, AttributeError, ZeroDivisionError, RuntimeError)
DESCRIPTION = 0x010E
ORIENTATION = 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 0x011A, 0x011B, 0x0128
_MAKER_NOTE = 0x927C
# Tags that describe the picture. The others describe a TIFF's storage, or are offsets into it.
_DESCRIPTIVE = {
    *(DESCRIPTION, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298, 0x4746, 0x4749),
    *range(0x9C9B, 0x9CA0),
}
_SUB_IFDS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# Sizes of the stored picture, the interoperability link, and offsets into the old file.
_NOT_CARRIED = {0xA002, 0xA003, 0xA005, 0xEA1C, 0xEA1D}
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation\s*(?:=\s*["\']|>)\s*)[2-8]')


@dataclass(frozen=True, kw_only=True)
class Carried:
    """Metadata read from one file, to be written to another.

    Attributes:
        orientation: EXIF orientation of the stored pixels, 1 … 8.
        exif, xmp, dpi: as in :class:`Picture`.
        warnings: what was left out, one line each.
    """

    orientation: int = 1
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()


def exif_value(image: Image.Image, tag: int) -> Any:
    """Return an EXIF value; None if it is missing, or EXIF is damaged, which does not matter to the pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return image.getexif().get(tag)
        except _DAMAGE:
            return None


def carried(image: Image.Image, path: Path, own_prefix: str) -> Carried:
    """Read the metadata of an opened image.

    Args:
        own_prefix: a description with this prefix is LR metadata, which is not kept.
    """
    notes: list[str] = []
    turn = exif_value(image, ORIENTATION)
    turn = turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
    exif = _exif(image, path, own_prefix, notes)
    xmp = _xmp(image, path, notes)
    dpi = _dpi(image)
    if dpi is not None and turn >= 5:
        dpi = dpi[::-1]
    return Carried(orientation=turn, exif=exif, xmp=xmp, dpi=dpi, warnings=tuple(notes))


def _exif(image: Image.Image, path: Path, own_prefix: str, notes: list[str]) -> bytes | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stored = image.getexif()
            clean = Image.Exif()
            for tag, value in stored.items():
                if tag in _DESCRIPTIVE and not (tag == DESCRIPTION and _begins(value, own_prefix)):
                    clean[tag] = value
            for ifd in _SUB_IFDS:
                if ifd in stored:
                    kept = {tag: value for tag, value in stored.get_ifd(ifd).items() if tag not in _NOT_CARRIED}
                    if kept:
                        clean.get_ifd(ifd).update(kept)
            if not len(clean) and not any(clean.get_ifd(ifd) for ifd in _SUB_IFDS):
                return None
            clean[ORIENTATION] = 1
            data: bytes = clean.tobytes()
            if len(data) > MAX_EXIF and clean.get_ifd(ExifTags.IFD.Exif).pop(_MAKER_NOTE, None) is not None:
                notes.append(f"{path}: the maker's note in its EXIF is left out (it is too large to be carried)")
                data = clean.tobytes()
        except _DAMAGE:
            notes.append(f"{path}: its EXIF is damaged and is left out")
            return None
    if len(data) > MAX_EXIF:
        notes.append(f"{path}: its EXIF of {len(data)} bytes is left out (at most {MAX_EXIF} are carried)")
        return None
    return data


def _begins(value: object, prefix: str) -> bool:
    return isinstance(value, str) and value.startswith(prefix)


def _xmp(image: Image.Image, path: Path, notes: list[str]) -> bytes | None:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if not xmp:
        return None
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", errors="replace")
    if not isinstance(xmp, bytes):
        return None
    xmp = xmp.rstrip(b"\0")
    if len(xmp) > MAX_XMP:
        notes.append(f"{path}: its XMP of {len(xmp)} bytes is left out (at most {MAX_XMP} are carried)")
        return None
    # Some readers take the orientation from XMP.
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    """Return the resolution: of the format if it has one, else of EXIF."""
    dpi = image.info.get("dpi")
    if dpi is None and image.format not in ("PNG", "JPEG", "TIFF", "BMP"):
        factor = 2.54 if exif_value(image, _UNIT) == 3 else 1.0
        stored = (exif_value(image, _X_RESOLUTION), exif_value(image, _Y_RESOLUTION))
        try:
            dpi = tuple(float(value) * factor for value in stored) if None not in stored else None
        except _DAMAGE:
            return None
    try:
        x, y = (float(value) for value in dpi or ())
    except _DAMAGE:
        return None
    # 1 stands for an unknown resolution; values above 100 000 are damage.
    return (x, y) if all(math.isfinite(value) and 1 < value < 1e5 for value in (x, y)) else None


def exif_with(
    exif: bytes | None, *, description: str | None = None, dpi: tuple[float, float] | None = None
) -> bytes | None:
    """Return EXIF with another image description, and a resolution for formats that store it only there."""
    if description is None and dpi is None:
        return exif
    merged = Image.Exif()
    if exif is not None:
        merged.load(exif)
    if description is not None:
        merged[DESCRIPTION] = description
    if dpi is not None:
        merged[_X_RESOLUTION], merged[_Y_RESOLUTION], merged[_UNIT] = dpi[0], dpi[1], 2
    return bytes(merged.tobytes())


def description_of(exif: bytes | None) -> str | None:
    """Return the image description in EXIF from :func:`carried`."""
    if exif is None:
        return None
    loaded = Image.Exif()
    loaded.load(exif)
    value = loaded.get(DESCRIPTION)
    return value if isinstance(value, str) else None
