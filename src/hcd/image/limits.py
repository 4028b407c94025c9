"""Limits on what a hostile file may claim."""

from __future__ import annotations

from pathlib import Path

from hcd.errors import ImageError

# Pillow's own limit: 179 megapixels, 2.1 GB as float32 RGB.
MAX_PIXELS = 178_956_970
# Sixteen bytes per pixel are uncompressed 32-bit RGBA; the rest is for metadata.
_BYTES_PER_PIXEL, _METADATA = 16, 64 * 2**20
MAX_ICC = 2**20
# Printer profiles are large; they are applied, not kept.
MAX_CONVERTED_ICC = 2**23
# EXIF with the LR metadata must fit into one segment of a JPEG, and so must XMP.
MAX_EXIF = 56_000
MAX_XMP = 60_000


def check_pixels(width: int, height: int, path: Path, max_pixels: int) -> None:
    """Refuse a claimed size that is too large.

    Raises:
        ImageError: more pixels than allowed, or none.
    """
    if width < 1 or height < 1:
        raise ImageError(f"{path}: damaged or truncated (its header says {width}×{height} pixels); fetch it again")
    if width * height > max_pixels:
        raise ImageError(
            f"{path}: {width}×{height} pixels are {width * height / 1e6:.0f} megapixels, more than the "
            f"{max_pixels / 1e6:.3g} megapixels allowed; shrink it, or allow it with --max-pixels"
        )


def check_bytes(size: int, path: Path, max_pixels: int) -> None:
    """Refuse a file that is larger than any picture with this number of pixels.

    Raises:
        ImageError: the file is larger.
    """
    if size > _BYTES_PER_PIXEL * max_pixels + _METADATA:
        raise ImageError(
            f"{path}: {size} bytes are more than {max_pixels / 1e6:.3g} megapixels can take; "
            "shrink it, or allow it with --max-pixels"
        )
