"""Encode pictures in memory, with their metadata and an optional comment."""

from __future__ import annotations

import io
import math
from pathlib import PurePath
from typing import Any

from PIL import Image, PngImagePlugin

from hcd.errors import OutputError, UsageError, named
from hcd.image.high_bit_depth import encode_png16, need_vips
from hcd.image.metadata import exif_with
from hcd.image.picture import Picture

KINDS = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".avif": "AVIF",
}
LOSSLESS_SUFFIXES = (".png", ".webp")
_COMMENT_SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".avif")
NO_ALPHA = ("JPEG", "BMP")
# AVIF's limit is 65535, but its decoders refuse more than this.
_LARGEST_SIDE = {"WEBP": 16383, "JPEG": 65500, "AVIF": 32768}
_XMP_TAG = 700


def encode(
    picture: Picture,
    suffix: str,
    *,
    comment: tuple[str, str] | None = None,
    depth: int = 8,
    quality: int | None = None,
) -> bytes:
    """Return the bytes of a picture file: lossless, except for JPEG, AVIF and WebP of a given quality.

    Color profile, EXIF, XMP and resolution are written if the format supports them; JPEG and BMP have no alpha.

    Args:
        suffix: ``.png``, ``.webp``, ``.tif``, ``.tiff``, ``.bmp``, ``.jpg``, ``.jpeg`` or ``.avif``.
        comment: keyword and ASCII text stored in the file; PNG (iTXt chunk) and lossless WebP (EXIF
            ImageDescription, as ``keyword text``) only.
        depth: bits per sample: 8, or 16 for PNG.
        quality: quality of JPEG, AVIF and lossy WebP, 1 to 100; None for 95, and for lossless WebP.

    Raises:
        UsageError: unknown suffix, or a format without the comment, the depth or the quality.
        OutputError: the picture is too large for the format.
        MissingDependencyError: 16 bits need the extra ``vips``.
    """
    kind = kind_of(suffix)
    if comment is not None and suffix not in LOSSLESS_SUFFIXES:
        raise UsageError(f"'{suffix}': cannot hold an LR picture; use {' or '.join(LOSSLESS_SUFFIXES)}")
    check_quality(quality, PurePath(f"*{suffix}"))
    lossy = 95 if quality is None else quality
    options: dict[str, dict[str, Any]] = {
        "PNG": {"optimize": True},
        # "exact" keeps the colors under transparent pixels, which the network reads as well.
        "WEBP": {"lossless": quality is None, "quality": quality or 100, "exact": True},
        "TIFF": {"compression": "tiff_deflate"},
        "JPEG": {"quality": lossy, "subsampling": 0},
        "AVIF": {"quality": lossy, "subsampling": "4:4:4", "max_threads": 1},
        "BMP": {},
    }
    return save(picture, kind, comment=comment, depth=depth, **options[kind])


def kind_of(suffix: str) -> str:
    """Return Pillow's name of a suffix's format.

    Raises:
        UsageError: unknown suffix.
    """
    return named("picture suffix", suffix, KINDS)


def check_depth(depth: int, target: PurePath) -> None:
    """Check that a suffix can be written with this number of bits per sample.

    Raises:
        UsageError: the format does not support it.
        MissingDependencyError: it needs the extra ``vips``.
    """
    if depth == 16:
        if target.suffix.lower() != ".png":
            raise UsageError(f"{target}: only PNG files are written with 16 bits per sample; use .png, or --depth 8")
        need_vips()


def check_quality(quality: int | None, target: PurePath) -> None:
    """Check that a file of that name can be written with a quality.

    Raises:
        UsageError: not with this suffix, or out of range.
    """
    if quality is None:
        return
    if kind_of(target.suffix.lower()) not in ("JPEG", "WEBP", "AVIF"):
        raise UsageError(f"{target}: is lossless and has no quality; leave it out, or use .jpg, .webp or .avif")
    if not 1 <= quality <= 100:
        raise UsageError(f"quality {quality}: out of range; use 1 to 100")


def save(
    picture: Picture, kind: str, *, comment: tuple[str, str] | None = None, depth: int = 8, **options: Any
) -> bytes:
    """Return the bytes of a file with Pillow's options and the picture's metadata.

    Raises:
        UsageError: the format does not support the depth.
        OutputError: the picture is too large for the format.
    """
    if depth not in (8, 16) or (depth == 16 and kind != "PNG"):
        raise UsageError(f"depth {depth}: {kind} files are written with 8 bits per sample, PNG with 8 or 16")
    if max(picture.width, picture.height) > _LARGEST_SIDE.get(kind, math.inf):
        raise OutputError(
            f"{picture.width}×{picture.height} pixels do not fit into a {kind} file, whose sides are at most "
            f"{_LARGEST_SIDE[kind]}; use .png"
        )
    options |= _carried(picture, kind, comment)
    if depth == 16:
        return encode_png16(picture, **{name: value for name, value in options.items() if name != "optimize"})
    image = picture.to_pillow()
    if kind in NO_ALPHA:
        image = image.convert("L" if picture.gray else "RGB")
    buffer = io.BytesIO()
    try:
        image.save(buffer, format=kind, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise OutputError(
            f"{picture.width}×{picture.height} pixels cannot be written as {kind} ({error}); use .png"
        ) from error
    return buffer.getvalue()


def _carried(picture: Picture, kind: str, comment: tuple[str, str] | None) -> dict[str, Any]:
    """Return Pillow's options for profile, EXIF, XMP, resolution and comment."""
    options: dict[str, Any] = {}
    if picture.dpi is not None and kind in ("PNG", "JPEG", "TIFF", "BMP"):
        options["dpi"] = picture.dpi
    if kind == "BMP":
        return options
    if picture.icc and picture.icc[16:20] in _profiles(picture, kind):
        options["icc_profile"] = picture.icc
    described = None if comment is None or kind == "PNG" else " ".join(comment)
    exif = exif_with(picture.exif, description=described, dpi=picture.dpi if kind in ("WEBP", "AVIF") else None)
    if kind == "TIFF":
        merged = Image.Exif()
        if exif is not None:
            merged.load(exif)
        if picture.xmp is not None:
            merged[_XMP_TAG] = picture.xmp
        if len(merged):
            options["exif"] = merged
        if exif is not None:
            # libtiff, which compression needs, cannot write the directories of EXIF and GPS.
            options["compression"] = None
        return options
    if exif is not None:
        options["exif"] = exif
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        if comment is not None:
            chunks.add_itxt(*comment)
        if picture.xmp is not None:
            chunks.add_itxt("XML:com.adobe.xmp", picture.xmp.decode("utf-8", errors="replace"))
        if chunks.chunks:
            options["pnginfo"] = chunks
    elif picture.xmp is not None:
        options["xmp"] = picture.xmp
    return options


def _profiles(picture: Picture, kind: str) -> tuple[bytes, ...]:
    """Return the color spaces whose profiles are valid for the stored channels."""
    if not picture.gray or kind in ("WEBP", "AVIF"):
        return (b"RGB ",)
    return (b"GRAY",) if kind == "PNG" else (b"GRAY", b"RGB ")


def losses_of_format(picture: Picture, name: PurePath) -> tuple[str, ...]:
    """List what a suffix's format cannot hold of a picture, one line each, as warnings to the user."""
    kind, lost = KINDS.get(name.suffix.lower()), []
    if picture.alpha is not None and kind in NO_ALPHA and bool((picture.alpha < 1).any()):
        lost.append(f"{name}: its transparency is left out, as {kind} holds none; use .png or .webp to keep it")
    if kind == "BMP" and (picture.icc or picture.exif or picture.xmp):
        lost.append(f"{name}: color profile, EXIF and XMP are left out, as BMP holds none; use .png to keep them")
    if picture.depth > 8 and kind not in ("PNG", None):
        lost.append(f"{name}: {picture.depth} bits per sample are written as 8; use .png to keep them")
    if picture.gray and picture.icc and kind is not None and picture.icc[16:20] not in _profiles(picture, kind):
        lost.append(f"{name}: its color profile does not fit a {kind} of one channel and is left out")
    return tuple(lost)
