"""Reading pictures with Pillow: orientation applied, color channels and alpha separated, clear errors."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hcd.errors import ImageError, UsageError
from hcd.image.picture import Picture

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I")
_EXIF_ORIENTATION = 0x0112
# Not ImageOps.exif_transpose, which also writes EXIF anew and fails where a camera wrote a tag of another type.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, TypeError, IndexError, OverflowError)


def list_pictures(folder: Path) -> list[Path]:
    """The files directly inside a folder that are named as pictures, sorted.

    Raises:
        UsageError: no such folder, no permission, or no picture in it.
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


def read_picture(path: str | Path) -> Picture:
    """Read PNG, JPEG, WebP, BMP or TIFF into tensors.

    EXIF orientation is applied. Gray, palette and 1-bit files become RGB; alpha and palette transparency
    become ``alpha``. 16-bit gray keeps its precision; other 16-bit files are read as 8 bits.

    Raises:
        ImageError: not there, not readable, damaged, too large, or of a kind that is not supported.
    """
    path = Path(path)
    return to_picture(open_image(path), path)


def open_image(path: Path) -> Image.Image:
    """Decode the first frame of a file, orientation applied, in its own mode; ``info`` and EXIF kept.

    Raises:
        ImageError: as :func:`read_picture`.
    """
    try:
        there, regular = path.exists(), path.is_file()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    if not there:
        raise ImageError(f"{path}: no such file")
    if not regular:
        raise ImageError(f"{path}: not a regular file; give a picture")
    return decode_image(path, path)


def decode_image(source: Path | BinaryIO, path: Path) -> Image.Image:
    """As :func:`open_image`, from a path or an open file; ``path`` is for error messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                image.load()
                turn = _UPRIGHT.get(exif_value(image, _EXIF_ORIENTATION))
                return image.copy() if turn is None else image.transpose(turn)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a picture of a known format; known are PNG, JPEG, WebP, BMP, TIFF") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise ImageError(f"{path}: more than {limit} megapixels, which is taken for an attack; shrink it") from error
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it") from error
    except MemoryError as error:
        raise ImageError(f"{path}: does not fit into memory") from error
    except _DAMAGE as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ImageError(f"{path}: damaged or truncated ({reason}); fetch it again") from error


def exif_value(image: Image.Image, tag: int) -> Any:
    """An EXIF value, None where there is none or EXIF is damaged: the pixels are what matters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return image.getexif().get(tag)
        except (*_DAMAGE, AttributeError):
            return None


def to_picture(image: Image.Image, path: Path) -> Picture:
    """Tensors of a decoded image; ``path`` is for error messages."""
    icc = image.info.get("icc_profile")
    if image.mode in _SIXTEEN_BIT_MODES:
        samples = np.asarray(image, dtype=np.float32) / 65535
        if samples.min() < 0 or samples.max() > 1:
            raise ImageError(f"{path}: 32-bit integer samples are not supported; convert it to 8 or 16 bits")
        return Picture(rgb=torch.from_numpy(samples)[None, None].repeat(1, 3, 1, 1), gray=True, icc=icc)
    if image.mode == "F":
        raise ImageError(f"{path}: floating point samples are not supported; convert it to 8 or 16 bits")
    if image.mode not in ("RGB", "RGBA", "RGBX", "L", "LA", "La", "P", "PA", "RGBa", "1"):
        # The profile of another color space would be wrong for the converted samples.
        image, icc = image.convert("RGB"), None
    gray = image.mode in ("L", "LA", "La", "1")
    alpha: Tensor | None = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = _to_float(np.asarray(image.getchannel("A"))[..., None])
    return Picture(rgb=_to_float(np.asarray(image.convert("RGB"))), alpha=alpha, gray=gray, icc=icc)


def _to_float(samples: np.ndarray) -> Tensor:
    return torch.from_numpy(samples.astype(np.float32)).permute(2, 0, 1)[None] / 255
