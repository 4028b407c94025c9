"""File API of the sender: downscale a picture file to an LR file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from hcd import defaults
from hcd.collab import Changes, Evaluation, Settings, get_settings
from hcd.errors import UsageError, named
from hcd.files import write_atomically
from hcd.image import DEFAULT_QUALITY, MAX_PIXELS, Codec, check_depth, read_picture
from hcd.pipeline.model import device_of, loaded
from hcd.pipeline.sender import downscale_picture
from hcd.rescaler import Rescaler

_SUFFIXES = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "avif": ".avif"}
_FORMATS = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg", ".avif": "avif"}


@dataclass(frozen=True, kw_only=True)
class DownscaledFile:
    """Report on an LR file that was written.

    Attributes:
        source, path: paths of the picture and of the LR file.
        model: name of the model.
        hr_width, hr_height, width, height: size of the picture and of the LR file, in pixels.
        lr_bytes: size of the LR file, metadata included.
        psnr: PSNR over RGB in dB of the picture that a receiver restores from the file; None if no stage ran.
        plain_psnr: the same for a file of the same kind that holds the plain LR.
        grad_evals: gradient evaluations spent.
        seconds: wall time of solving.
        warnings: losses, a line each: what of the picture the file does not hold.
    """

    source: Path
    path: Path
    model: str
    hr_width: int
    hr_height: int
    width: int
    height: int
    lr_bytes: int
    psnr: float | None
    plain_psnr: float | None
    grad_evals: int
    seconds: float
    warnings: tuple[str, ...]


def downscale_file(
    source: str | Path,
    target: str | Path,
    *,
    model: str | Rescaler = defaults.MODEL,
    preset: str | Settings = "balanced",
    format: str | None = None,
    quality: int | None = None,
    depth: int = 8,
    weights: str | Path | None = None,
    device: str = "auto",
    memory: int | None = None,
    max_pixels: int = MAX_PIXELS,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **changes: Unpack[Changes],
) -> DownscaledFile:
    """Downscale a picture file to an LR file, from which :func:`hcd.upscale_file` rebuilds the picture.

    Alpha, color profile, EXIF, XMP and resolution are kept. The file is written atomically.

    Args:
        source: path of the picture.
        target: path of the LR file, whose suffix sets the format; or a folder, where the file is named after the
            picture: ``photo.lr.png``.
        model: name of a model, see :func:`hcd.load`, or a loaded model.
        preset: name of a preset, or a settings object.
        format: ``png``, ``webp``, ``jpeg`` or ``avif``, if the target is a folder; default ``png``.
        quality: quality of JPEG, AVIF and lossy WebP, 1 to 100; None for 90, and for lossless WebP.
        depth: bits per sample of the LR file: 8, or 16 for PNG.
        weights, device: arguments of :func:`hcd.load`, if ``model`` is a name.
        memory, on_evaluation, on_tile, stop, changes: as in :func:`hcd.collaborate`.
        max_pixels: larger pictures are refused before they are decoded.
        on_warning: called with each line of ``warnings`` as soon as it is known.

    Raises:
        UsageError: an argument has a value that cannot be used, or the target is the source.
        ModelError, WeightsError: the model cannot be loaded.
        ImageError: the picture cannot be read.
        PictureTooLargeError: the picture does not fit into memory.
        OutputError: the LR file cannot be written, or its format cannot hold the picture.
    """
    settings = get_settings(preset, **changes)
    source = Path(source)
    path = lr_path(source, Path(target), format=format)
    codec = codec_of(path, quality=quality, depth=depth)
    rescaler = loaded(model, weights, device)
    where = device_of(rescaler)
    warnings: list[str] = []

    def warn(lines: tuple[str, ...]) -> None:
        for line in lines:
            warnings.append(line)
            if on_warning is not None:
                on_warning(line)

    picture = read_picture(source, max_pixels=max_pixels)
    warn(picture.warnings)
    if codec is not None:
        codec.check(picture, path)
    small = downscale_picture(
        picture,
        rescaler,
        settings,
        depth=depth,
        codec=codec,
        device=where,
        memory=memory,
        on_evaluation=on_evaluation,
        on_tile=on_tile,
        stop=stop,
    )
    warn(small.picture.warnings)
    data = small.encode(path.suffix.lower())
    write_atomically(path, data)
    return DownscaledFile(
        source=source,
        path=path,
        model=rescaler.name,
        hr_width=picture.width,
        hr_height=picture.height,
        width=small.picture.width,
        height=small.picture.height,
        lr_bytes=len(data),
        psnr=small.psnr,
        plain_psnr=small.plain_psnr,
        grad_evals=small.result.grad_evals,
        seconds=small.result.seconds,
        warnings=tuple(warnings),
    )


def lr_name(source: Path, format: str | None = None) -> str:
    """Return the file name of the LR file of a picture.

    Raises:
        UsageError: the format is unknown.

    >>> lr_name(Path("photo.jpg"))
    'photo.lr.png'
    """
    return f"{source.stem}.lr{named('format', 'png' if format is None else format, _SUFFIXES)}"


def lr_path(source: Path, target: Path, *, format: str | None = None) -> Path:
    """Return the path of the LR file of a picture.

    Raises:
        UsageError: the path is the source, or the format is unknown or does not match the suffix.
    """
    path = target / lr_name(source, format) if os.path.isdir(target) else target
    if format is not None and _FORMATS.get(path.suffix.lower()) != format:
        suffix = named("format", format, _SUFFIXES)
        raise UsageError(f"{path}: is not the name of a {format} file; give {suffix}, or no format")
    if os.path.realpath(path) == os.path.realpath(source):
        raise UsageError(f"{source}: would be overwritten by its own result; choose another output")
    return path


def codec_of(path: Path, *, quality: int | None = None, depth: int = 8) -> Codec | None:
    """Return the lossy codec of an LR file of this name; None for lossless formats.

    Raises:
        UsageError: the suffix is not one of an LR file, or its format does not support this quality or depth.
        MissingDependencyError: 16 bits need the extra ``vips``.
    """
    format = _FORMATS.get(path.suffix.lower())
    if format is None:
        raise UsageError(f"{path}: an LR file is .png, .webp, .jpg or .avif; change the suffix")
    if depth not in (8, 16):
        raise UsageError(f"depth {depth}: an LR file has 8 or 16 bits per sample")
    check_depth(depth, path)
    if format == "png" and quality is not None:
        raise UsageError(f"{path}: PNG is lossless and has no quality; leave it out, or choose another format")
    if format == "png" or (format == "webp" and quality is None):
        return None
    return Codec(format=format, quality=DEFAULT_QUALITY if quality is None else quality)
