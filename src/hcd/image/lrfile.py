"""Read and write LR files: ordinary pictures whose metadata tell how to restore HR (docs/format.md)."""

from __future__ import annotations

import base64
import binascii
import io
import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hcd.errors import MetadataError, printable
from hcd.image.encode import encode
from hcd.image.limits import MAX_PIXELS
from hcd.image.metadata import description_of, exif_with
from hcd.image.picture import Picture
from hcd.image.read import KEYWORD, Decoded, decode_file, read_file

_VERSION = 1
_LONGEST = 4096
# Of that, the share of a profile and a description.
_LONGEST_EXTRA = 1600
_LARGEST_PROFILE = 2**16
_FIELDS: dict[str, type] = {
    "version": int,
    "model": str,
    "weights": str,
    "scale": int,
    "width": int,
    "height": int,
    "latent": str,
    "gray": bool,
}
_OPTIONAL: dict[str, type] = {"depth": int, "icc": str, "description": str}


@dataclass(frozen=True, kw_only=True)
class LRInfo:
    """Information that a receiver needs beside the weights.

    Attributes:
        model: model name for ``hcd.load``.
        weights: hash of the weights file; empty for models without weights.
        scale: HR side / LR side.
        width, height: size of the original, in pixels.
        latent: latent policy of the inverse pass.
        gray: whether the original had one color channel.
        depth: bits per sample of the LR file and of the restored picture, 8 or 16.
    """

    model: str
    weights: str
    scale: int
    width: int
    height: int
    latent: str
    gray: bool = False
    depth: int = 8


def encode_lr(picture: Picture, info: LRInfo, suffix: str = ".png") -> bytes:
    """Return the bytes of a lossless LR file, PNG or WebP; ``hcd.image.Codec`` writes lossy ones.

    Raises:
        UsageError: the format cannot hold an LR picture, or not with this depth.
        MissingDependencyError: 16 bits need the extra ``vips``.
    """
    comment = metadata_text(picture, info, description=suffix != ".png")
    return encode(picture, suffix, comment=comment, depth=info.depth)


def metadata_text(picture: Picture, info: LRInfo, *, description: bool) -> tuple[str, str]:
    """Return keyword and text of the metadata.

    Args:
        description: include the picture's own description, whose place in the file the text takes.
    """
    fields: dict[str, Any] = {"version": _VERSION}
    fields |= {name: getattr(info, name) for name in _FIELDS if name != "version"}
    if info.depth != 8:
        fields["depth"] = info.depth
    profile = _gray_profile(picture, info)
    if profile is not None:
        fields["icc"] = profile
    text = description_of(picture.exif) if description else None
    if text is not None and len(json.dumps(text)) <= _LONGEST_EXTRA:
        fields["description"] = text
    return KEYWORD, json.dumps(fields, separators=(",", ":"))


def _gray_profile(picture: Picture, info: LRInfo) -> str | None:
    """Return a gray original's profile, which would be invalid for three channels; None if it is too long."""
    if not info.gray or picture.icc is None or picture.icc[16:20] != b"GRAY":
        return None
    text = base64.b64encode(zlib.compress(picture.icc, 9)).decode()
    return text if len(text) <= _LONGEST_EXTRA else None


def lost_profile(original: Picture, info: LRInfo) -> tuple[str, ...]:
    """Return a warning if a gray original's profile is too long for the metadata of its LR file."""
    if original.icc is None or original.icc[16:20] != b"GRAY" or _gray_profile(original, info) is not None:
        return ()
    return (
        f"its gray profile of {len(original.icc)} bytes is left out; at most {_LONGEST_EXTRA} compressed are carried",
    )


def read_lr(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Picture, LRInfo | None]:
    """Read an LR file; the information is None if the file has none.

    Args:
        max_pixels: limit for the file, checked before decoding, and for the original.

    Raises:
        ImageError: the picture cannot be read.
        MetadataError: the information is damaged, of a later version, or contradicts the picture.
    """
    return _lr_of(read_file(path, max_pixels=max_pixels), path, max_pixels)


def decode_lr(data: bytes, path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Picture, LRInfo | None]:
    """Read an LR file from bytes, as :func:`read_lr`; ``path`` is for error messages."""
    return _lr_of(decode_file(io.BytesIO(data), path, max_pixels=max_pixels), path, max_pixels)


def _lr_of(decoded: Decoded, path: Path, max_pixels: int) -> tuple[Picture, LRInfo | None]:
    picture = decoded.picture
    if decoded.comment is None:
        return picture, None
    fields = _parse(decoded.comment, path)
    info = LRInfo(
        **{name: fields[name] for name in _FIELDS if name != "version"}, depth=fields.get("depth", LRInfo.depth)
    )
    if max(info.width, info.height) > max_pixels or info.width * info.height > max_pixels:
        raise MetadataError(
            f"{path}: its metadata stand for an original of {_short(info.width)}×{_short(info.height)} pixels, more "
            f"than the {max_pixels / 1e6:.3g} megapixels allowed; allow it with --max-pixels, or {_REMEDY}"
        )
    expected = (-(-info.width // info.scale), -(-info.height // info.scale))
    if (picture.width, picture.height) != expected:
        raise MetadataError(
            f"{path}: {picture.width}×{picture.height} pixels, but its metadata stand for {expected[0]}×{expected[1]}; "
            "it was resized after hcd wrote it: name a model with --model to upscale it as it is"
        )
    return _completed(picture, fields, path), info


def _completed(picture: Picture, fields: dict[str, Any], path: Path) -> Picture:
    """Return the picture with the gray profile and the description that the metadata hold for the original."""
    if fields.get("icc"):
        profile = _unpacked(fields["icc"])
        if profile is None:
            note = f"{path}: the gray profile in its hcd metadata is damaged and is left out"
            picture = replace(picture, warnings=(*picture.warnings, note))
        else:
            picture = replace(picture, icc=profile)
    if fields.get("description"):
        picture = replace(picture, exif=exif_with(picture.exif, description=fields["description"]))
    return picture


def _unpacked(text: str) -> bytes | None:
    try:
        packed = base64.b64decode(text, validate=True)
        # Bounded: a few bytes can decompress to gigabytes.
        unpacker = zlib.decompressobj()
        profile = unpacker.decompress(packed, _LARGEST_PROFILE)
    except (binascii.Error, ValueError, zlib.error):
        return None
    whole = unpacker.eof and len(profile) >= 128
    return profile if whole and profile[16:20] == b"GRAY" and profile[36:40] == b"acsp" else None


_REMEDY = "name a model with --model to upscale it anyway"


def _parse(text: str, path: Path) -> dict[str, Any]:
    """Check type and range of each field; ignore unknown ones."""
    damaged = f"{path}: its hcd metadata are damaged"
    if len(text) > _LONGEST:
        raise MetadataError(f"{damaged} ({len(text)} characters, at most {_LONGEST}); {_REMEDY}")
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{damaged} (not JSON); {_REMEDY}") from error
    if not isinstance(fields, dict):
        raise MetadataError(f"{damaged} (not a JSON object); {_REMEDY}")
    version = fields.get("version")
    if type(version) is int and version > _VERSION:
        raise MetadataError(
            f"{path}: written by a later hcd (metadata version {_short(version)}); update hcd, or {_REMEDY}"
        )
    expected = _FIELDS | {name: kind for name, kind in _OPTIONAL.items() if name in fields}
    for name, kind in expected.items():
        if type(fields.get(name)) is not kind:
            raise MetadataError(f"{damaged} ('{name}' is {_short(fields.get(name))}, needs {kind.__name__}); {_REMEDY}")
    if fields["scale"] < 1 or fields["width"] < 1 or fields["height"] < 1 or version != _VERSION:
        raise MetadataError(f"{damaged} (version, scale, width and height must be positive); {_REMEDY}")
    if fields.get("depth", 8) not in (8, 16):
        raise MetadataError(f"{damaged} ('depth' is {_short(fields['depth'])}, needs 8 or 16); {_REMEDY}")
    return fields


def _short(value: object) -> str:
    """Format a value for a message: one line, shortened."""
    text = printable(repr(value))
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
