"""``hcd compare``: plain against collaborative on one picture, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hcd.cli.options import (
    given,
    json_flag,
    load_model,
    model_options,
    out_option,
    path_argument,
    preset_option,
    solver_options,
)

if TYPE_CHECKING:
    from hcd.evaluate import Comparison


@click.command("compare")
@path_argument("source", metavar="IN")
@out_option("Folder for the page and its pictures.")
@model_options("irn-x4")
@preset_option("balanced")
@solver_options
@json_flag("Print the figures as JSON.")
def command(
    source: Path,
    out: Path,
    model: str,
    weights: Path | None,
    device: str,
    preset: str,
    as_json: bool,
    **solver: Any,
) -> None:
    """Downscale and rebuild IN plainly and collaboratively; write pictures, difference maps and index.html."""
    from hcd.cli.progress import solve_progress
    from hcd.collab import get_settings
    from hcd.evaluate import compare
    from hcd.image import read_picture

    settings = given(**solver)
    configured = get_settings(preset, **settings)
    rescaler, device = load_model(model, weights, device)
    picture = read_picture(source)
    steps = configured.evaluations
    with solve_progress(steps) as progress:
        progress.start(source.name, steps)
        comparison = compare(
            picture,
            source.name,
            rescaler,
            out,
            preset=preset,
            device=device,
            on_evaluation=progress.evaluation,
            **settings,
        )
    print_comparison(comparison, as_json=as_json)


def print_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """The figures as a table or as JSON, and where the page is."""
    from dataclasses import asdict

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from hcd.evaluate import json_text

    if as_json:
        click.echo(json_text({"page": str(comparison.page), "presets": [asdict(f) for f in comparison.figures]}))
        return
    table = Table("LR picture", "PSNR-Y", "PSNR-RGB", "SSIM-Y", "LR bytes", "evals", "seconds", box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for f in comparison.figures:
        similarity = "–" if f.ssim_y is None else f"{f.ssim_y:.4f}"
        figures = (f"{f.psnr_y:.2f}", f"{f.psnr_rgb:.2f}", similarity, str(f.lr_bytes), str(f.grad_evals))
        table.add_row(f.preset, *figures, f"{f.seconds:.1f}")
    Console().print(table)
    plain, ours = comparison.figures
    click.echo(f"{ours.preset} against plain: {ours.gain_over(plain)} dB PSNR-Y")
    click.echo(f"open {comparison.page}")
