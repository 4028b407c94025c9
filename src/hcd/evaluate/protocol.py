"""Evaluation of a folder by the field's protocol, on encoded and decoded 8-bit LR files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Unpack

from hcd.collab import Changes, Evaluation, Settings, get_settings
from hcd.errors import ImageError, PictureTooLargeError, ShapeError, UsageError
from hcd.evaluate.measurement import Row, benchmark_crop, measure
from hcd.image import Picture, list_pictures, read_picture
from hcd.rescaler import Rescaler


@dataclass(frozen=True, kw_only=True)
class Report:
    """Rows of all pictures and presets; ``failed`` holds the name and the error of each file that was left out."""

    model: str
    scale: int
    rows: tuple[Row, ...]
    failed: tuple[tuple[str, str], ...] = ()

    def mean(self) -> dict[str, dict[str, float]]:
        """Return the mean over the pictures of every metric, by preset."""
        presets = dict.fromkeys(row.preset for row in self.rows)
        metrics = [f.name for f in fields(Row) if f.name not in ("image", "preset")]
        return {preset: {name: _mean(self.rows, preset, name) for name in metrics} for preset in presets}

    def as_json(self) -> dict[str, Any]:
        """Return the structure that ``hcd evaluate --json`` writes."""
        rows = [asdict(row) for row in self.rows]
        failed = [{"image": name, "error": error} for name, error in self.failed]
        return {"model": self.model, "scale": self.scale, "rows": rows, "mean": self.mean(), "failed": failed}


def settings_of(presets: Sequence[str], **changes: Unpack[Changes]) -> dict[str, Settings]:
    """Return the settings of several presets by name, changed in all but ``plain``, the baseline.

    Raises:
        UsageError: no preset is given, or a preset or setting is unknown.
    """
    if not presets:
        raise UsageError("presets: none given; name at least one")
    changed = {preset: get_settings(preset, **changes) for preset in presets}
    return {preset: get_settings(preset) if preset == "plain" else changed[preset] for preset in presets}


def evaluate_folder(
    folder: Path,
    model: Rescaler,
    presets: Mapping[str, Settings],
    *,
    device: str = "cpu",
    on_start: Callable[[str, str], None] | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> Report:
    """Evaluate a rescaler under several presets on every picture of a folder.

    Each picture is cropped to a multiple of the scale (the top left is kept), downscaled, encoded as an LR file,
    decoded, upscaled, rounded to 8 bits and compared with the original.

    Args:
        folder: folder of pictures; subfolders and other files are ignored.
        model: the rescaler, on ``device``.
        presets: settings by name, see :func:`settings_of`.
        on_start, on_evaluation, on_row: progress callbacks; ``on_start`` gets file name and preset.

    Raises:
        UsageError: the folder does not exist or holds no picture.
    """
    rows: list[Row] = []
    failed: list[tuple[str, str]] = []
    for file in list_pictures(folder):
        try:
            # The colors alone: the protocol has no alpha, and treats gray pictures as RGB.
            rgb = benchmark_crop(read_picture(file).rgb, model.scale, str(file))
        except ImageError as error:
            failed.append((file.name, str(error)))
            continue
        for preset, settings in presets.items():
            if on_start is not None:
                on_start(file.name, preset)
            try:
                row = measure(
                    Picture(rgb=rgb),
                    model,
                    settings,
                    image=file.name,
                    preset=preset,
                    device=device,
                    on_evaluation=on_evaluation,
                ).row
            except (PictureTooLargeError, ShapeError) as error:
                failed.append((file.name, f"{file}: {error}"))
                continue
            rows.append(row)
            if on_row is not None:
                on_row(row)
    return Report(model=model.name, scale=model.scale, rows=tuple(rows), failed=tuple(failed))


def _mean(rows: Sequence[Row], preset: str, name: str) -> float:
    values = [getattr(row, name) for row in rows if row.preset == preset]
    return float(sum(values) / len(values))
