"""Files on the receiver's side: an LR file in, the large picture out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hcd.errors import UsageError, named
from hcd.files import write_atomically
from hcd.image import MAX_PIXELS, check_depth, check_quality, encode, kind_of, losses_of_format
from hcd.pipeline.receiver import Receiver
from hcd.rescaler import Rescaler
from hcd.zoo import pick_device

_SUFFIXES = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "avif": ".avif", "tiff": ".tif", "bmp": ".bmp"}


@dataclass(frozen=True, kw_only=True)
class UpscaledFile:
    """A large picture that was written.

    Attributes:
        source, path: the LR file and the large picture.
        width, height: size of the large picture, in pixels.
        seconds: wall time from reading to writing.
        warnings: what the file could not take over, a line each.
    """

    source: Path
    path: Path
    width: int
    height: int
    seconds: float
    warnings: tuple[str, ...]


def upscale_file(
    source: str | Path,
    target: str | Path,
    *,
    model: str | Rescaler | None = None,
    format: str | None = None,
    quality: int | None = None,
    depth: int | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    memory: int | None = None,
    max_pixels: int = MAX_PIXELS,
    on_warning: Callable[[str], None] | None = None,
) -> UpscaledFile:
    """Rebuild the large picture of an LR file with the model that it names.

    What :func:`hcd.downscale_file` carried over comes along. The file is written whole or not at all. For many files,
    a :class:`Receiver` and :func:`upscale_with` load each model once.

    Args:
        source: the LR file, or with a ``model`` any picture.
        target: the large picture; its suffix says the format. In a folder it is named after the LR file: ``photo.png``.
        model: used instead of the model that the file names: a name, see :func:`hcd.load`, or a loaded model.
        format: ``png``, ``webp``, ``jpeg``, ``avif``, ``tiff`` or ``bmp``, for a target that is a folder; default
            ``png``.
        quality: of JPEG, AVIF and lossy WebP, 1 to 100; None for 95, and lossless WebP.
        depth: bits per sample, 8, or for PNG 16; None for those of the LR file.
        weights: weights of ``model`` or of the model that the file names.
        device: where a model is loaded.
        memory: bytes that the process, or on a GPU its tensors, may take; None for most of what is free.
        max_pixels: larger files are refused before they are decoded, and larger pictures before they are rebuilt.
        on_warning: called with each line of ``warnings`` as it comes up.

    Raises:
        UsageError: an argument that cannot be used, or a target that is the source.
        ImageError: the file cannot be read, or the large picture would be too large.
        MetadataError: its metadata are missing or damaged, and no model was given.
        ModelError, WeightsError: the model is not installed or cannot be loaded.
        PictureTooLargeError: the picture does not fit into memory.
        OutputError: the large picture cannot be written.
    """
    # Checked before a model is loaded.
    path = upscaled_path(Path(source), Path(target), format=format, quality=quality, depth=depth)
    receiver = Receiver(
        model=model,
        weights=None if weights is None else Path(weights),
        device=pick_device(device),
        memory=memory,
        max_pixels=max_pixels,
        depth=depth,
    )
    return upscale_with(receiver, source, path, quality=quality, on_warning=on_warning)


def upscale_with(
    receiver: Receiver,
    source: str | Path,
    target: str | Path,
    *,
    quality: int | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> UpscaledFile:
    """As :func:`upscale_file`, with a receiver that keeps its models for the next file."""
    started = time.monotonic()
    source = Path(source)
    path = upscaled_path(source, Path(target), quality=quality, depth=receiver.depth)
    picture = receiver.restore(source)
    warnings = (*picture.warnings, *losses_of_format(picture, path))
    if on_warning is not None:
        for line in warnings:
            on_warning(line)
    suffix = path.suffix.lower()
    data = encode(picture, suffix, depth=picture.depth if suffix == ".png" else 8, quality=quality)
    write_atomically(path, data)
    return UpscaledFile(
        source=source,
        path=path,
        width=picture.width,
        height=picture.height,
        seconds=time.monotonic() - started,
        warnings=warnings,
    )


def upscaled_name(source: Path, format: str | None = None) -> str:
    """Return the name of the large picture of an LR file in a folder.

    Raises:
        UsageError: unknown format.

    >>> upscaled_name(Path("photo.lr.png"), "jpeg")
    'photo.jpg'
    """
    suffix = named("format", "png" if format is None else format, _SUFFIXES)
    return f"{source.stem.removesuffix('.lr')}{suffix}"


def upscaled_path(
    source: Path, target: Path, *, format: str | None = None, quality: int | None = None, depth: int | None = None
) -> Path:
    """Return the path of the large picture of an LR file.

    Raises:
        UsageError: the source itself, an unknown format, another than the suffix says, or a quality or depth that the
            format does not have.
        MissingDependencyError: 16 bits without the extra ``vips``.
    """
    path = target / upscaled_name(source, format) if os.path.isdir(target) else target
    kind = kind_of(path.suffix.lower())
    if format is not None and kind != kind_of(named("format", format, _SUFFIXES)):
        raise UsageError(f"{path}: is no name of a {format} file; give {_SUFFIXES[format]}, or leave the format out")
    check_quality(quality, path)
    check_depth(8 if depth is None else depth, path)
    if os.path.realpath(path) == os.path.realpath(source):
        raise UsageError(f"{source}: would be overwritten by its own result; choose another output")
    return path
