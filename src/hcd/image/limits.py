"""How much a file may ask for before it is taken for an attack."""

from __future__ import annotations

from pathlib import Path

from hcd.errors import ImageError

# Where Pillow itself refuses: 179 megapixels, 2.1 GB as float32 RGB.
MAX_PIXELS = 178_956_970
# Sixteen bytes per pixel are RGBA of 32 bits, not compressed; the rest is room for metadata.
_BYTES_PER_PIXEL, _METADATA = 16, 64 * 2**20
MAX_ICC = 2**20
# The profile of a printer is large, and it is used, not carried.
MAX_CONVERTED_ICC = 2**23
# With the LR metadata, EXIF has to fit into one segment of a JPEG, and so has XMP.
MAX_EXIF = 56_000
MAX_XMP = 60_000


def check_pixels(width: int, height: int, path: Path, max_pixels: int) -> None:
    """Refuse a size that a header claims.

    Raises:
        ImageError: more pixels than allowed, or none at all.
    """
    if width < 1 or height < 1:
        raise ImageError(f"{path}: damaged or truncated (its header says {width}×{height} pixels); fetch it again")
    if width * height > max_pixels:
        raise ImageError(
            f"{path}: {width}×{height} pixels are {width * height / 1e6:.0f} megapixels, more than the "
            f"{max_pixels / 1e6:.3g} megapixels allowed; shrink it, or allow it with --max-pixels"
        )


def check_bytes(size: int, path: Path, max_pixels: int) -> None:
    """Refuse a file that is larger than any picture of so many pixels.

    Raises:
        ImageError: larger than that.
    """
    if size > _BYTES_PER_PIXEL * max_pixels + _METADATA:
        raise ImageError(
            f"{path}: {size} bytes are more than {max_pixels / 1e6:.3g} megapixels can take; "
            "shrink it, or allow it with --max-pixels"
        )
