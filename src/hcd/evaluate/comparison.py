"""Comparison of plain and collaborative on one picture: images, difference maps, metrics and an HTML page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from hcd.collab import PRESETS, Evaluation, Settings
from hcd.errors import UsageError
from hcd.evaluate.measurement import Measurement, Row, measure
from hcd.files import write_atomically
from hcd.image import Picture, encode
from hcd.jsontext import json_text
from hcd.ops import quantize
from hcd.rescaler import Rescaler

ERROR_GAIN = 8
"""Factor by which error maps are amplified."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Metrics of the plain and the collaborative LR, and the page that shows them.

    Attributes:
        page: path of the page.
        plain, ours: metrics of the plain and of the collaborative LR.
        max_change: maximum absolute difference between the two LR pictures, in gray levels.
    """

    page: Path
    plain: Row
    ours: Row
    max_change: int

    @property
    def gain(self) -> str:
        """Gain over plain in PSNR-Y, in dB, with its sign; 0 if both are infinite."""
        same = self.ours.psnr_y == self.plain.psnr_y
        return f"{0.0 if same else self.ours.psnr_y - self.plain.psnr_y:+.2f}"

    def as_json(self) -> list[dict[str, Any]]:
        """Return the metrics of both as JSON rows, plain first."""
        changes = ((self.plain, 0), (self.ours, self.max_change))
        return [asdict(row) | {"max_change": change} for row, change in changes]


def compare(
    picture: Picture,
    title: str,
    model: Rescaler,
    folder: Path,
    settings: Settings,
    *,
    preset: str,
    device: str = "cpu",
    on_evaluation: Callable[[Evaluation], None] | None = None,
) -> Comparison:
    """Downscale and rebuild a picture with the plain and the collaborative LR, and write a page that compares them.

    Writes ``original.png``, ``figures.json`` (the metrics) and ``index.html``, which opens from disk, into ``folder``.
    Writes ``<preset>.lr.png``, ``<preset>.png`` and ``<preset>.error.png`` (absolute error times 8) for both presets,
    and ``perturbation.png``: the difference of the LR pictures, amplified to full range around mid-gray.

    Args:
        picture: the original; its alpha and metadata are ignored.
        title: title of the page.
        model: the rescaler, on ``device``.
        folder: output folder; created if missing.
        settings: settings of the collaborative LR.
        preset: name of these settings on the page and in file names.
        on_evaluation: called after every gradient evaluation.

    Raises:
        OutputError: the folder cannot be written.
        UsageError: the preset is ``plain``.
    """
    if preset == "plain":
        raise UsageError("preset 'plain': nothing to compare it with; use another preset")
    picture = replace(picture, alpha=None, exif=None, xmp=None, dpi=None)
    # The protocol cuts a border; a picture too small for that is measured without cutting.
    border = model.scale if min(picture.height, picture.width) >= 2 * model.scale + _SMALLEST_CUT else 0
    plain, ours = (
        measure(
            picture, model, chosen, image=title, preset=name, border=border, device=device, on_evaluation=on_evaluation
        )
        for name, chosen in (("plain", PRESETS["plain"]), (preset, settings))
    )
    found = Comparison(page=folder / "index.html", plain=plain.row, ours=ours.row, max_change=ours.max_change)
    perturbation = ours.lr - plain.lr
    gain = 0.5 / max(float(perturbation.abs().max()), 1 / 255)
    facts = {
        "title": title,
        "model": model.name,
        "scale": model.scale,
        "width": picture.width,
        "height": picture.height,
    }
    page = _render(
        **facts,
        gain=found.gain,
        preset=preset,
        presets=found.as_json(),
        lr_width=perturbation.shape[-1],
        lr_height=perturbation.shape[-2],
        border=border,
        perturbation_gain=round(gain),
        error_gain=ERROR_GAIN,
    )
    files = {
        "original.png": encode(picture, ".png"),
        **_files_of(plain, picture),
        **_files_of(ours, picture),
        "perturbation.png": encode(Picture(rgb=0.5 + gain * perturbation), ".png"),
        "figures.json": json_text({**facts, "presets": found.as_json()}).encode(),
        "index.html": page.encode(errors="backslashreplace"),
    }
    for file, data in files.items():
        write_atomically(folder / file, data)
    return found


# The border is cut only if at least one SSIM window remains.
_SMALLEST_CUT = 11


def _files_of(measured: Measurement, original: Picture) -> dict[str, bytes]:
    """Return the LR file, the restored picture and the error map, by file name."""
    preset, restored = measured.row.preset, measured.restored
    error = (quantize(restored.rgb) - quantize(original.rgb)).abs() * ERROR_GAIN
    return {
        f"{preset}.lr.png": measured.lr_file,
        f"{preset}.png": encode(restored, ".png"),
        f"{preset}.error.png": encode(Picture(rgb=error), ".png"),
    }


def _render(**values: Any) -> str:
    source = resources.files("hcd.evaluate").joinpath("comparison.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(source).render(**values)
