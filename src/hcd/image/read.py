"""Read pictures: identify the file, check its claims, decode, apply the orientation, keep the metadata."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hcd.errors import ImageError, UsageError
from hcd.image.color import from_float, from_pillow
from hcd.image.headers import Header, read_header
from hcd.image.high_bit_depth import read_high_bit_depth, vips
from hcd.image.limits import MAX_PIXELS, check_bytes, check_pixels
from hcd.image.metadata import DAMAGE, DESCRIPTION, ORIENTATION, Carried, carried, exif_value
from hcd.image.picture import Picture
from hcd.image.source import open_regular

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl")
KEYWORD = "hcd"
_KNOWN = "known are PNG, JPEG, WebP, BMP, TIFF, AVIF, HEIF, JPEG XL"
# Dimensions to flip, after an optional transposition, by EXIF orientation. Not ImageOps.exif_transpose, which rewrites
# EXIF and fails on tags of an unexpected type.
_UPRIGHT: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (3,)),
    3: (False, (2, 3)),
    4: (False, (2,)),
    5: (True, ()),
    6: (True, (3,)),
    7: (True, (2, 3)),
    8: (True, (2,)),
}
_SAMPLE_FORMAT, _BITS, _EXTRA_SAMPLES = 339, 258, 338
# Pillow logs some damage beside raising; without a handler, Python would print the log.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Pillow's own limit is global to the process.
_PILLOW_LIMIT = threading.RLock()


def list_pictures(folder: Path) -> list[Path]:
    """List the files directly inside a folder that have a picture's suffix, sorted.

    Raises:
        UsageError: the folder is missing, not readable, or contains no picture.
    """
    try:
        found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be listed ({error.strerror or error}); give a folder of pictures"
        ) from error
    if not found:
        raise UsageError(f"{folder}: holds no picture ({', '.join(SUFFIXES)})")
    return found


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A picture, and the text of its LR metadata, if any."""

    picture: Picture
    comment: str | None


def read_picture(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read PNG, JPEG, WebP, BMP, TIFF or AVIF (with extras HEIF and JPEG XL) into tensors.

    EXIF orientation is applied. Gray, palette and 1-bit files become RGB, CMYK and Lab by their profiles; alpha and
    palette transparency become ``alpha``. 16-bit gray keeps its precision; other files of more than 8 bits need the
    extra ``vips`` for that. ``Picture.warnings`` names what is left out.

    Args:
        max_pixels: limit that is checked before decoding.

    Raises:
        ImageError: missing, not readable, damaged, too large, or not supported.
    """
    return read_file(Path(path), max_pixels=max_pixels).picture


def read_file(path: Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Read a picture as :func:`read_picture`, with the text of its LR metadata.

    Raises:
        ImageError: as :func:`read_picture`.
    """
    with open_regular(path) as file:
        return decode_file(file, path, max_pixels=max_pixels)


def decode_file(file: BinaryIO, path: Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Read an open file as :func:`read_file`; ``path`` is for messages.

    Raises:
        ImageError: as :func:`read_picture`.
    """
    with _clear_errors(path, max_pixels):
        check_bytes(file.seek(0, 2), path, max_pixels)
        header = read_header(file)
        if header is None:
            raise ImageError(f"{path}: not a picture of a known format; {_KNOWN}")
        if header.size is not None:
            check_pixels(*header.size, path, max_pixels)
        _load_plugin(header.kind, path)
        try:
            with _unlimited():
                image = Image.open(file, formats=(header.kind,))
        except UnidentifiedImageError:
            # Pillow cannot read floating point color, but libvips can.
            picture = read_high_bit_depth(file, path, max_pixels) if header.kind == "TIFF" else None
            if picture is not None:
                return Decoded(picture=picture, comment=None)
            if header.kind == "TIFF" and vips() is None:
                raise ImageError(
                    f"{path}: damaged, or floating point color, which needs the extra 'vips'; pip install 'hcd[vips]'"
                ) from None
            raise
        with image:
            check_pixels(image.width, image.height, path, max_pixels)
            return _decode(image, header, file, path, max_pixels)


def _decode(image: Image.Image, header: Header, file: BinaryIO, path: Path, max_pixels: int) -> Decoded:
    kind = header.kind
    notes: list[str] = []
    if getattr(image, "is_animated", False):
        notes.append(f"{path}: holds more than one picture; the first is taken")
    picture = None
    upright = kind == "JXL"  # its decoder applies the orientation
    depth = _depth(image, header)
    if depth > 8 and image.mode not in ("I;16", "I;16B", "I;16L", "I", "F"):
        if kind == "HEIF":
            picture = _read_high_bit_depth_heif(file, image.info.get("icc_profile"), path)
        elif kind != "JXL":
            premultiplied = kind == "TIFF" and _tag(image, _EXTRA_SAMPLES) == 1
            picture = read_high_bit_depth(file, path, max_pixels, premultiplied=premultiplied)
            upright = kind == "AVIF" and picture is not None
        if picture is None:
            remedy = "convert it to a 16-bit PNG" if kind == "JXL" else "pip install 'hcd[vips]'"
            notes.append(f"{path}: {depth} bits per sample are read as 8; to keep them, {remedy}")
    stored = exif_value(image, ORIENTATION)
    if picture is None:
        # Pillow checks TIFFs again when it decodes, and refuses above twice its limit.
        beyond = image.width * image.height > 2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS)
        with _unlimited() if beyond else nullcontext():
            image.load()
        picture = from_pillow(image, path)
    # After the pixels: PNG may store EXIF behind them.
    found = carried(image, path, f"{KEYWORD} ")
    comment = _comment(image)
    if kind == "TIFF" and found.orientation == 1 and found.dpi is not None and stored in (5, 6, 7, 8):
        # Pillow has applied the orientation to pixels, but not to the resolution.
        found = replace(found, dpi=found.dpi[::-1])
    return Decoded(picture=_with(picture, found, upright, notes), comment=comment)


def _with(picture: Picture, found: Carried, upright: bool, notes: list[str]) -> Picture:
    turn = 1 if upright else found.orientation
    return replace(
        picture,
        rgb=_turned(picture.rgb, turn),
        alpha=None if picture.alpha is None else _turned(picture.alpha, turn),
        exif=found.exif,
        xmp=found.xmp,
        dpi=found.dpi,
        warnings=(*notes, *picture.warnings, *found.warnings),
    )


def _turned(samples: Tensor, orientation: int) -> Tensor:
    swap, flips = _UPRIGHT.get(orientation, (False, ()))
    if swap:
        samples = samples.transpose(2, 3)
    return torch.flip(samples, flips) if flips else samples.contiguous()


def _depth(image: Image.Image, header: Header) -> int:
    """Return the bits per sample, at least 8."""
    if header.kind == "TIFF":
        bits = _tag(image, _BITS)
        return bits if isinstance(bits, int) and bits > 8 else 8
    if header.kind == "HEIF":
        bits = image.info.get("bit_depth", 8)
        return bits if isinstance(bits, int) else 8
    return header.depth


def _tag(image: Image.Image, tag: int) -> Any:
    """Return the (first) value of a TIFF tag."""
    try:
        value = image.tag_v2.get(tag)  # type: ignore[attr-defined]
    except (*DAMAGE, AttributeError):
        return None
    return value[0] if isinstance(value, tuple) and value else value


def _read_high_bit_depth_heif(file: BinaryIO, icc: Any, path: Path) -> Picture:
    import numpy as np
    import pillow_heif

    file.seek(0)
    heif = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
    samples = np.asarray(heif)
    largest = 65535.0 if samples.dtype == np.uint16 else 255.0
    return from_float(samples.astype(np.float32) / largest, alpha=heif.mode.startswith("RGBA"), icc=icc, path=path)


def _comment(image: Image.Image) -> str | None:
    """Return the text that :func:`hcd.image.encode` stored for :data:`KEYWORD`, or None."""
    text = image.info.get(KEYWORD)
    if text is None:
        described = exif_value(image, DESCRIPTION)
        if isinstance(described, str) and described.startswith(KEYWORD + " "):
            text = described[len(KEYWORD) + 1 :]
    return str(text) if text is not None else None


def _load_plugin(kind: str, path: Path) -> None:
    """Register the formats of extras with Pillow."""
    if kind == "HEIF":
        try:
            import pillow_heif
        except ImportError as error:
            raise ImageError(f"{path}: HEIF needs the extra 'heif'; pip install 'hcd[heif]'") from error
        pillow_heif.register_heif_opener(thumbnails=False)
    elif kind == "JXL":
        try:
            import pillow_jxl  # noqa: F401 - importing it registers the format
        except ImportError as error:
            raise ImageError(f"{path}: JPEG XL needs the extra 'jxl'; pip install 'hcd[jxl]'") from error


@contextmanager
def _unlimited() -> Iterator[None]:
    """Lift Pillow's own limit; ours is checked before and after."""
    with _PILLOW_LIMIT:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _clear_errors(path: Path, max_pixels: int) -> Iterator[None]:
    """Turn any failure of a decoder into an :class:`ImageError` of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: damaged, or of a kind that cannot be read; fetch it again or convert it") from error
    except MemoryError as error:
        raise ImageError(f"{path}: does not fit into memory; shrink it") from error
    # Third-party decoders may raise anything on damaged files.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(f"{path}: damaged or truncated ({reason}); fetch it again") from error
