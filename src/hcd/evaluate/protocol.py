"""The field's protocol on a folder of pictures, measured on the encoded and decoded 8-bit LR file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from hcd.collab import Evaluation, get_settings
from hcd.errors import ImageError, PictureTooLargeError, ShapeError, UsageError
from hcd.image import Picture, decode_lr, encode_lr, list_pictures, read_picture
from hcd.metrics import psnr, ssim
from hcd.ops import quantize, resize_bicubic
from hcd.pipeline import downscale_picture, upscale_picture
from hcd.rescaler import Rescaler


@dataclass(frozen=True, kw_only=True)
class Row:
    """Figures of one picture under one preset.

    Attributes:
        image: file name.
        preset: preset of ``collaborate``.
        psnr_y, ssim_y, psnr_rgb: of the restored 8-bit picture, border of ``scale`` pixels cut; dB for PSNR.
        lr_psnr: PSNR on luma, in dB, of the LR file against the rounded bicubic LR, no border cut.
        lr_bytes: size of the LR file (PNG), metadata included.
        grad_evals: gradient evaluations spent.
        seconds: wall time of the downscaling.
    """

    image: str
    preset: str
    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    lr_psnr: float
    lr_bytes: int
    grad_evals: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """Rows of all pictures and presets; ``failed`` names each file that could not be used, and why."""

    model: str
    scale: int
    rows: tuple[Row, ...]
    failed: tuple[tuple[str, str], ...] = ()

    def mean(self) -> dict[str, dict[str, float]]:
        """Per preset, the mean of every figure over the pictures."""
        presets = dict.fromkeys(row.preset for row in self.rows)
        figures = [f.name for f in fields(Row) if f.name not in ("image", "preset")]
        return {preset: {name: _mean(self.rows, preset, name) for name in figures} for preset in presets}

    def as_json(self) -> dict[str, Any]:
        """The structure that ``hcd evaluate --json`` writes."""
        rows = [asdict(row) for row in self.rows]
        failed = [{"image": name, "error": error} for name, error in self.failed]
        return {"model": self.model, "scale": self.scale, "rows": rows, "mean": self.mean(), "failed": failed}


def evaluate_folder(
    folder: Path,
    model: Rescaler,
    presets: Sequence[str],
    *,
    device: str = "cpu",
    on_start: Callable[[str, str], None] | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_row: Callable[[Row], None] | None = None,
    **settings: Any,
) -> Report:
    """Evaluate a rescaler under several presets on every picture of a folder.

    Each picture is cropped to a multiple of the scale (top left kept), downscaled, encoded as an LR file,
    decoded again, upscaled, rounded to 8 bits and compared.

    Args:
        folder: pictures directly inside it; files of other kinds are left out.
        presets: preset names.
        on_start, on_evaluation, on_row: progress; ``on_start`` gets file name and preset.
        **settings: overrides for every preset but ``plain``.

    Raises:
        UsageError: no such folder, no picture in it, or an unknown preset.
    """
    files = list_pictures(folder)
    if not presets:
        raise UsageError("presets: none given; name at least one")
    for preset in presets:
        get_settings(preset, **settings)
    rows: list[Row] = []
    failed: list[tuple[str, str]] = []
    for file in files:
        try:
            picture = _benchmark_picture(file, model.scale)
            if min(picture.width, picture.height) < 11 + 2 * model.scale:
                raise ImageError(f"{file}: too small to evaluate at scale {model.scale}; leave it out")
        except ImageError as error:
            failed.append((file.name, str(error)))
            continue
        for preset in presets:
            if on_start is not None:
                on_start(file.name, preset)
            overrides = {} if preset == "plain" else settings
            try:
                row = _measure(file.name, picture, model, preset, device, on_evaluation, overrides)
            except (PictureTooLargeError, ShapeError) as error:
                failed.append((file.name, f"{file}: {error}"))
                continue
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return Report(model=model.name, scale=model.scale, rows=tuple(rows), failed=tuple(failed))


def _measure(
    name: str,
    picture: Picture,
    model: Rescaler,
    preset: str,
    device: str,
    on_evaluation: Callable[[Evaluation], None] | None,
    settings: dict[str, Any],
) -> Row:
    small = downscale_picture(picture, model, preset, device=device, on_evaluation=on_evaluation, **settings)
    data = encode_lr(small.picture, small.info)
    decoded, info = decode_lr(data, Path(name))
    restored = upscale_picture(decoded, model, info, device=device)
    bicubic = quantize(resize_bicubic(picture.rgb, Fraction(1, model.scale)))
    border = model.scale
    return Row(
        image=name,
        preset=preset,
        psnr_y=psnr(restored.rgb, picture.rgb, border=border),
        ssim_y=ssim(restored.rgb, picture.rgb, border=border),
        psnr_rgb=psnr(restored.rgb, picture.rgb, channel="rgb", border=border),
        lr_psnr=psnr(decoded.rgb, bicubic),
        lr_bytes=len(data),
        grad_evals=small.result.grad_evals,
        seconds=small.result.seconds,
    )


def _benchmark_picture(file: Path, scale: int) -> Picture:
    """As the protocols read it: no alpha, gray as three channels, cut right and bottom to a multiple of the scale."""
    rgb = read_picture(file).rgb
    height, width = (side - side % scale for side in rgb.shape[-2:])
    return Picture(rgb=rgb[..., :height, :width])


def _mean(rows: Sequence[Row], preset: str, name: str) -> float:
    values = [getattr(row, name) for row in rows if row.preset == preset]
    return float(sum(values) / len(values))
