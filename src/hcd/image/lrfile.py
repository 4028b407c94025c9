"""The LR file: an ordinary 8-bit picture whose metadata say how to rebuild the large one."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from hcd.errors import MetadataError
from hcd.image.encode import encode, read_comment
from hcd.image.picture import Picture
from hcd.image.read import decode_image, open_image, to_picture

_KEYWORD = "hcd"
_VERSION = 1
_LONGEST = 4096
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


@dataclass(frozen=True, kw_only=True)
class LRInfo:
    """What a receiver needs beyond the weights.

    Attributes:
        model: model name, as ``hcd.load`` takes it.
        weights: hash of the weights file; empty for models without weights.
        scale: HR side / LR side.
        width, height: size of the original, in pixels.
        latent: latent policy of the inverse pass.
        gray: whether the original had one color channel.
    """

    model: str
    weights: str
    scale: int
    width: int
    height: int
    latent: str
    gray: bool = False


def encode_lr(picture: Picture, info: LRInfo, suffix: str = ".png") -> bytes:
    """The bytes of an LR file, PNG or lossless WebP.

    Raises:
        UsageError: a suffix that cannot hold an LR picture.
    """
    text = json.dumps({"version": _VERSION, **asdict(info)}, separators=(",", ":"))
    return encode(picture, suffix, comment=(_KEYWORD, text))


def read_lr(path: Path) -> tuple[Picture, LRInfo | None]:
    """Read an LR file; the information is None where the file carries none.

    Raises:
        ImageError: the picture cannot be read.
        MetadataError: there is information, and it is damaged, of a later version, or contradicts the picture.
    """
    return _lr_of(open_image(path), path)


def decode_lr(data: bytes, path: Path) -> tuple[Picture, LRInfo | None]:
    """As :func:`read_lr`, from the bytes of a file; ``path`` is for error messages."""
    return _lr_of(decode_image(io.BytesIO(data), path), path)


def _lr_of(image: Image.Image, path: Path) -> tuple[Picture, LRInfo | None]:
    text = read_comment(image, _KEYWORD)
    picture = to_picture(image, path)
    if text is None:
        return picture, None
    info = _parse(text, path)
    expected = (-(-info.width // info.scale), -(-info.height // info.scale))
    if (picture.width, picture.height) != expected:
        raise MetadataError(
            f"{path}: {picture.width}×{picture.height} pixels, but its metadata stand for {expected[0]}×{expected[1]}; "
            "it was resized after hcd wrote it: name a model with --model to upscale it as it is"
        )
    return picture, info


def _parse(text: str, path: Path) -> LRInfo:
    damaged = f"{path}: its hcd metadata are damaged"
    remedy = "name a model with --model to upscale it all the same"
    if len(text) > _LONGEST:
        raise MetadataError(f"{damaged} ({len(text)} characters, at most {_LONGEST}); {remedy}")
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{damaged} (not JSON); {remedy}") from error
    if not isinstance(fields, dict):
        raise MetadataError(f"{damaged} (not a JSON object); {remedy}")
    version = fields.get("version")
    if type(version) is int and version > _VERSION:
        raise MetadataError(f"{path}: written by a later hcd (metadata version {version}); update hcd, or {remedy}")
    for name, kind in _FIELDS.items():
        if type(fields.get(name)) is not kind:
            raise MetadataError(f"{damaged} ('{name}' is {fields.get(name)!r}, needs {kind.__name__}); {remedy}")
    if fields["scale"] < 1 or fields["width"] < 1 or fields["height"] < 1 or version != _VERSION:
        raise MetadataError(f"{damaged} (version, scale, width and height must be positive); {remedy}")
    return LRInfo(**{name: fields[name] for name in _FIELDS if name != "version"})
