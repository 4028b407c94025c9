"""Convert decoded samples of any mode to RGB tensors, by the embedded profile if the mode is not RGB."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from hcd.errors import ImageError
from hcd.image.limits import MAX_CONVERTED_ICC, MAX_ICC
from hcd.image.picture import Picture

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I")
_WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_RGB_MODES = ("RGB", "RGBX", "L", "P", "1", *_WITH_ALPHA)
_SPACES = {"CMYK": b"CMYK", "LAB": b"Lab "}


def from_pillow(image: Image.Image, path: Path) -> Picture:
    """Return the tensors of a decoded image, with its color profile and no other metadata.

    Raises:
        ImageError: integer samples of more than 16 bits, or NaN.
    """
    icc = image.info.get("icc_profile") or None
    if image.mode == "F" or image.mode in _SIXTEEN_BIT_MODES:
        samples = np.asarray(image, dtype=np.float32)[..., None]
        if image.mode == "F":
            return from_float(samples, alpha=False, icc=icc, path=path)
        if samples.min() < 0 or samples.max() > 65535:
            raise ImageError(f"{path}: 32-bit integer samples are not supported; convert it to 8 or 16 bits")
        return from_float(samples / 65535, alpha=False, icc=icc, path=path)
    warnings: list[str] = []
    if image.mode not in _RGB_MODES:
        image = _to_srgb(image, icc, path, warnings)
        icc = None
    gray = image.mode in ("L", "LA", "La", "1")
    alpha: Tensor | None = None
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = _to_tensor(np.asarray(image.getchannel("A"))[..., None]) / 255
    rgb = _to_tensor(np.asarray(image.convert("RGB"))) / 255
    icc = checked_profile(icc, gray=gray, path=path, warnings=warnings)
    return Picture(rgb=rgb, alpha=alpha, gray=gray, icc=icc, warnings=tuple(warnings))


def from_float(samples: np.ndarray, *, alpha: bool, icc: bytes | None, path: Path) -> Picture:
    """Return a 16-bit picture of float samples ``[H, W, C]``, nominally in [0, 1].

    Args:
        alpha: whether the last channel is alpha.

    Raises:
        ImageError: NaN, or an unsupported number of channels.
    """
    channels = samples.shape[-1] - alpha
    if channels not in (1, 3):
        raise ImageError(f"{path}: {channels} color channels are not supported; convert it to RGB")
    if not np.isfinite(samples).all():
        raise ImageError(f"{path}: holds NaN or infinite samples; convert it to 16 bits")
    warnings: list[str] = []
    if samples.min() < 0 or samples.max() > 1:
        warnings.append(
            f"{path}: samples from {samples.min():g} to {samples.max():g} are cut to 0 … 1; scale them first"
        )
        samples = samples.clip(0, 1)
    tensor, gray = _to_tensor(samples), channels == 1
    rgb = tensor[:, :1].repeat(1, 3, 1, 1) if gray else tensor[:, :3].contiguous()
    icc = checked_profile(icc, gray=gray, path=path, warnings=warnings)
    opacity = tensor[:, -1:].contiguous() if alpha else None
    return Picture(rgb=rgb, alpha=opacity, gray=gray, icc=icc, depth=16, warnings=tuple(warnings))


def checked_profile(icc: bytes | None, *, gray: bool, path: Path, warnings: list[str]) -> bytes | None:
    """Return the profile if it can be kept: intact, not huge, and for these channels."""
    if not icc:
        return None
    if len(icc) > MAX_ICC:
        warnings.append(f"{path}: its color profile of {len(icc)} bytes is left out (at most {MAX_ICC} are carried)")
        return None
    if len(icc) < 128 or icc[36:40] != b"acsp":
        warnings.append(f"{path}: its color profile is damaged and is left out; assign it again")
        return None
    # Gray files often have a color profile, as every gray sRGB JPEG of a camera does; only its tone curve applies.
    if icc[16:20] not in (b"RGB ", b"GRAY") or (icc[16:20] == b"GRAY" and not gray):
        warnings.append(
            f"{path}: its color profile is for {icc[16:20].decode('latin-1').strip()}, not for its channels; left out"
        )
        return None
    return icc


def _to_srgb(image: Image.Image, icc: bytes | None, path: Path, warnings: list[str]) -> Image.Image:
    """Convert CMYK, Lab and the like to sRGB, by the embedded profile, else by Pillow's formulas."""
    space = _SPACES.get(image.mode)
    if icc and space is not None:
        if len(icc) <= MAX_CONVERTED_ICC and icc[16:20] == space:
            try:
                source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
                converted = ImageCms.profileToProfile(
                    image, source, ImageCms.createProfile("sRGB"), outputMode="RGB", flags=_BLACK_POINT
                )
                if converted is not None:
                    return converted
            except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
                pass  # said below
        warnings.append(f"{path}: its {image.mode} color profile cannot be used; the colors are approximate")
    if image.mode == "CMYK" and icc is None:
        warnings.append(f"{path}: CMYK without a color profile; the colors are approximate")
    return image.convert("RGB")


_BLACK_POINT = ImageCms.Flags.BLACKPOINTCOMPENSATION


def _to_tensor(samples: np.ndarray) -> Tensor:
    return torch.from_numpy(samples.astype(np.float32)).permute(2, 0, 1)[None]
