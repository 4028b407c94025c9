"""File API of the receiver: rebuild a large picture file from an LR file."""

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
    """Report on a large picture that was written.

    Attributes:
        source, path: paths of the LR file and of the large picture.
        width, height: size of the large picture, in pixels.
        seconds: wall time from reading to writing.
        warnings: losses, a line each: what the format does not hold.
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

    Alpha, color profile, EXIF, XMP and resolution are those of the LR file. The file is written atomically. For many
    files, use a :class:`Receiver` with :func:`upscale_with`, which loads each model once.

    Args:
        source: path of the LR file; with a ``model``, of any picture.
        target: path of the large picture, whose suffix sets the format; or a folder, where the file is named after the
            LR file: ``photo.png``.
        model: name of a model, see :func:`hcd.load`, or a loaded model, to use instead of the one that the file names.
        format: ``png``, ``webp``, ``jpeg``, ``avif``, ``tiff`` or ``bmp``, if the target is a folder; default ``png``.
        quality: quality of JPEG, AVIF and lossy WebP, 1 to 100; None for 95, and for lossless WebP.
        depth: bits per sample: 8, or 16 for PNG; None for the depth of the LR file.
        weights: weights of ``model`` or of the model that the file names.
        device: device to load the model onto.
        memory: bytes that the process, or on a GPU its tensors, may take; None for most of what is free.
        max_pixels: larger files are refused before they are decoded, and larger pictures before they are rebuilt.
        on_warning: called with each line of ``warnings`` as soon as it is known.

    Raises:
        UsageError: an argument has a value that cannot be used, or the target is the source.
        ImageError: the file cannot be read, or the large picture would be too large.
        MetadataError: the metadata are missing or damaged, and no model was given.
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
    """Rebuild one file as :func:`upscale_file` does, with a receiver that keeps its models for the next file."""
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
    """Return the file name of the large picture of an LR file.

    Raises:
        UsageError: the format is unknown.

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
        UsageError: the path is the source; the format is unknown or does not match the suffix; or the format does not
            support this quality or depth.
        MissingDependencyError: 16 bits need the extra ``vips``.
    """
    path = target / upscaled_name(source, format) if os.path.isdir(target) else target
    kind = kind_of(path.suffix.lower())
    if format is not None and kind != kind_of(named("format", format, _SUFFIXES)):
        raise UsageError(f"{path}: is not the name of a {format} file; give {_SUFFIXES[format]}, or no format")
    check_quality(quality, path)
    check_depth(8 if depth is None else depth, path)
    if os.path.realpath(path) == os.path.realpath(source):
        raise UsageError(f"{source}: would be overwritten by its own result; choose another output")
    return path
