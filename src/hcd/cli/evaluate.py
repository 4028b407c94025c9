"""``hcd evaluate``: measure a folder by the field's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hcd import defaults
from hcd.cli.options import load_model, model_options, path_argument
from hcd.cli.settings import settings_options

if TYPE_CHECKING:
    from hcd.evaluate import Report, Row


@click.command("evaluate")
@path_argument("folder", metavar="DIR")
@model_options(defaults.MODEL)
@click.option("--presets", default="plain,paper,balanced", show_default=True, help="Comma-separated presets.")
@settings_options
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the metrics to this file.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    folder: Path,
    model: str,
    weights: Path | None,
    device: str,
    presets: str,
    changes: dict[str, Any],
    json_file: Path | None,
) -> None:
    """Measure presets of a model on every picture in DIR, on the decoded 8-bit LR files."""
    from hcd.cli.progress import solve_progress
    from hcd.evaluate import evaluate_folder, settings_of
    from hcd.files import write_atomically
    from hcd.image import list_pictures
    from hcd.jsontext import json_text

    settings = settings_of([name.strip() for name in presets.split(",") if name.strip()], **changes)
    rescaler, device = load_model(model, weights, device)
    pictures = len(list_pictures(folder))
    with solve_progress(pictures * sum(each.evaluations for each in settings.values())) as progress:

        def show(row: Row) -> None:
            progress.print(
                f"{row.image}  {row.preset}  {row.psnr_y:.2f} dB  {row.ssim_y:.4f}  LR {row.lr_psnr:.2f} dB "
                f"{row.lr_bytes} B  {row.grad_evals} evaluations  {row.seconds:.1f} s"
            )

        report = evaluate_folder(
            folder,
            rescaler,
            settings,
            device=device,
            on_start=lambda image, preset: progress.start(f"{image} {preset}", settings[preset].evaluations),
            on_evaluation=progress.evaluation,
            on_row=show,
        )
    _print(report)
    if json_file is not None:
        write_atomically(json_file, json_text(report.as_json()).encode())
    for _, error in report.failed:
        click.echo(f"Error: {error}", err=True)
    if report.failed:
        ctx.exit(1)


def _print(report: Report) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    if not report.rows:
        return
    table = Table(
        "preset", "PSNR-Y", "SSIM-Y", "PSNR-RGB", "LR PSNR-Y", "LR bytes", "evals", "seconds", box=SIMPLE_HEAD
    )
    for column in table.columns[1:]:
        column.justify = "right"
    table.title = f"{report.model}, mean of {len({row.image for row in report.rows})} pictures"
    for preset, mean in report.mean().items():
        table.add_row(
            preset,
            f"{mean['psnr_y']:.2f}",
            f"{mean['ssim_y']:.4f}",
            f"{mean['psnr_rgb']:.2f}",
            f"{mean['lr_psnr']:.2f}",
            f"{mean['lr_bytes']:.0f}",
            f"{mean['grad_evals']:.1f}",
            f"{mean['seconds']:.1f}",
        )
    Console().print(table)
