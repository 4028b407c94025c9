"""``hcd compare``: write a page that compares plain and collaborative on one picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hcd import defaults
from hcd.cli.options import json_flag, load_model, model_options, out_option, path_argument, preset_option
from hcd.cli.settings import settings_options

if TYPE_CHECKING:
    from hcd.collab import Settings
    from hcd.evaluate import Comparison
    from hcd.rescaler import Rescaler


@click.command("compare")
@path_argument("source", metavar="IN")
@out_option("Folder for the page and its pictures.")
@model_options(defaults.MODEL)
@preset_option("balanced")
@settings_options
@json_flag("Print the metrics as JSON.")
def command(
    source: Path,
    out: Path,
    model: str,
    weights: Path | None,
    device: str,
    preset: str,
    changes: dict[str, Any],
    as_json: bool,
) -> None:
    """Downscale and rebuild IN with the plain and the collaborative LR; write pictures, difference maps, index.html."""
    from hcd.collab import get_settings

    settings = get_settings(preset, **changes)
    rescaler, device = load_model(model, weights, device)
    print_comparison(run_comparison(source, rescaler, out, settings, preset, device), as_json=as_json)


def run_comparison(
    source: Path, model: Rescaler, out: Path, settings: Settings, preset: str, device: str
) -> Comparison:
    """Compare one picture, with a progress bar."""
    from hcd.cli.progress import solve_progress
    from hcd.evaluate import compare
    from hcd.image import read_picture

    picture = read_picture(source)
    with solve_progress(settings.evaluations) as progress:
        progress.start(source.name, settings.evaluations)
        return compare(
            picture,
            source.name,
            model,
            out,
            settings,
            preset=preset,
            device=device,
            on_evaluation=progress.evaluation,
        )


def print_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """Print the metrics as a table or as JSON, and the path of the page."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from hcd.jsontext import json_text

    if as_json:
        click.echo(json_text({"page": str(comparison.page), "presets": comparison.as_json()}))
        return
    table = Table("LR picture", "PSNR-Y", "PSNR-RGB", "SSIM-Y", "LR bytes", "evals", "seconds", box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in (comparison.plain, comparison.ours):
        similarity = "–" if math.isnan(row.ssim_y) else f"{row.ssim_y:.4f}"
        metrics = (f"{row.psnr_y:.2f}", f"{row.psnr_rgb:.2f}", similarity, str(row.lr_bytes), str(row.grad_evals))
        table.add_row(row.preset, *metrics, f"{row.seconds:.1f}")
    Console().print(table)
    click.echo(f"{comparison.ours.preset} against plain: {comparison.gain} dB PSNR-Y")
    click.echo(f"open {comparison.page}")
