"""Lossy codecs for LR files: encode, decode as the receiver does, and count bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from PIL import Image
from torch import Tensor

from hcd.errors import OutputError, ShapeError, UsageError, unknown_name
from hcd.image.encode import save
from hcd.image.lrfile import LRInfo, metadata_text
from hcd.image.picture import Picture
from hcd.image.read import decode_file

# Chroma subsamplings of each format; the first is its default.
_SUBSAMPLINGS = {"jpeg": ("4:4:4", "4:2:2", "4:2:0"), "webp": ("4:2:0",), "avif": ("4:4:4", "4:2:2", "4:2:0")}
CODECS = tuple(_SUBSAMPLINGS)
DEFAULT_QUALITY = 90


@final
@dataclass(frozen=True, kw_only=True)
class Codec:
    """A lossy codec with its settings; equal codecs write equal bytes.

    Attributes:
        format: ``jpeg``, ``webp`` or ``avif``.
        quality: 1 to 100, on the scale of the format's encoder.
        subsampling: chroma subsampling; None for the format's default (4:4:4, WebP 4:2:0, which has no other).

    Raises:
        UsageError: unknown format, quality or subsampling.

    >>> Codec(format="jpeg", quality=80).suffix
    '.jpg'
    """

    format: str
    quality: int = DEFAULT_QUALITY
    subsampling: str | None = None

    def __post_init__(self) -> None:
        if self.format not in _SUBSAMPLINGS:
            raise UsageError(unknown_name("codec", self.format, _SUBSAMPLINGS))
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality}: out of range; use 1 to 100")
        known = _SUBSAMPLINGS[self.format]
        if self.subsampling is None:
            object.__setattr__(self, "subsampling", known[0])
        if self.subsampling not in known:
            raise UsageError(unknown_name(f"subsampling of {self.format}", str(self.subsampling), known))

    @property
    def suffix(self) -> str:
        """File suffix, with its dot."""
        return ".jpg" if self.format == "jpeg" else f".{self.format}"

    def encode(self, picture: Picture, info: LRInfo | None = None) -> bytes:
        """Return the bytes of an LR file, with its metadata if given.

        Raises:
            OutputError: the picture is too large for the format, or has transparency, which the format lacks.
        """
        self.check(picture)
        comment = None if info is None else metadata_text(picture, info, description=True)
        return save(picture, self.format.upper(), comment=comment, **self._options())

    def check(self, picture: Picture, path: Path = Path("LR file")) -> None:
        """Check that the format can hold a picture, before the work of making its LR picture.

        Raises:
            OutputError: the picture has transparency, which the format lacks.
        """
        # An opaque alpha channel carries no information.
        if self.format == "jpeg" and picture.alpha is not None and bool((picture.alpha < 1).any()):
            raise OutputError(f"{path}: the picture has transparency, which JPEG cannot hold; use .webp, .avif or .png")

    def decode(self, data: bytes, path: Path = Path("LR file")) -> Picture:
        """Return the picture that a receiver reads from the bytes; ``path`` is for messages.

        Raises:
            ImageError: damaged.
        """
        return decode_file(io.BytesIO(data), path).picture

    def roundtrip(self, rgb: Tensor, alpha: Tensor | None = None) -> tuple[Tensor, int]:
        """Return the picture that a receiver decodes from the file of an LR picture, and the size of that file.

        Args:
            rgb: float ``[1, 3, h, w]``, RGB; clamped to [0, 1] and rounded to 8 bits first.
            alpha: float ``[1, 1, h, w]`` or None; WebP's colors depend on it.

        Returns:
            The decoded picture, ``[1, 3, h, w]``, multiples of 1/255 with device and dtype of ``rgb``, no gradient;
            and the bytes of the file without metadata. Deterministic.

        Raises:
            ShapeError: not one RGB picture.
            OutputError: as :meth:`encode`.
        """
        if rgb.ndim != 4 or rgb.shape[:2] != (1, 3) or min(rgb.shape) < 1 or not rgb.is_floating_point():
            raise ShapeError(f"roundtrip: got {rgb.dtype} of shape {tuple(rgb.shape)}, needs float [1, 3, h, w]")
        data = self.encode(Picture(rgb=rgb.detach(), alpha=alpha))
        return self.decode(data).rgb.to(rgb), len(data)

    def steps(self) -> tuple[list[int], list[int]]:
        """Return a JPEG's quantization tables: 64 steps for luma coefficients and 64 for chroma, row by row.

        Raises:
            UsageError: the format is not JPEG.
        """
        if self.format != "jpeg":
            raise UsageError(f"codec '{self.format}': has no such tables; use jpeg")
        buffer = io.BytesIO()
        Image.new("RGB", (1, 1)).save(buffer, "JPEG", **self._options())
        with Image.open(buffer) as image:
            tables = image.quantization  # type: ignore[attr-defined]
        return list(tables[0]), list(tables[1])

    def _options(self) -> dict[str, Any]:
        if self.format == "jpeg":
            return {"quality": self.quality, "subsampling": self.subsampling, "optimize": True}
        if self.format == "webp":
            return {"quality": self.quality, "method": 4, "exact": True, "alpha_quality": 100, "use_sharp_yuv": True}
        # The encoder's choices may depend on the number of threads.
        return {"quality": self.quality, "subsampling": self.subsampling, "speed": 6, "max_threads": 1}
