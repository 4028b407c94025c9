"""``hcd bench solver``: the frontier of gain and cost of presets and step rules."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hcd.rescaler import Rescaler
    from hcd_lab.bench import SolverReport


@click.command("solver", short_help="Presets and step rules: gain against seconds.")
@click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--models", default="irn-x4", show_default=True, help="Comma-separated; NAME or NAME=WEIGHTS.")
@click.option("--presets", default="paper,fast,balanced,best", show_default=True, help="Comma-separated.")
@click.option("--rules", default="", help="Comma-separated RULE@EVALUATIONS, such as lbfgs@40; 'all@N' for every rule.")
@click.option("--loss", help="What all but paper minimize, in place of rgb+y: rgb, y, charbonnier, ssim.")
@click.option("--crop", type=int, help="Longest side of the middle part that is used of a picture.")
@click.option("--every", type=int, default=1, show_default=True, help="Use every so many-th picture.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures, kept up to date.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the frontier: .png, .svg or .pdf.")
@click.option(
    "--read",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Show what an earlier --json wrote instead; several are put together.",
)
def command(
    folders: tuple[Path, ...],
    models: str,
    presets: str,
    rules: str,
    loss: str | None,
    crop: int | None,
    every: int,
    json_file: Path | None,
    plot: Path | None,
    read: tuple[Path, ...],
) -> None:
    """What presets and step rules gain over plain, and what they cost against the published scheme.

    Measured on every picture of the folders (by default on three photographs that scikit-image ships), in one run;
    gains are those of the decoded 8-bit files. Seconds depend on the machine; what carries over is their ratio.
    """
    from hcd.cli.progress import solve_progress
    from hcd.errors import UsageError
    from hcd.files import write_atomically
    from hcd.jsontext import json_text
    from hcd_lab.bench import (
        BASELINE,
        SolverReport,
        bench_solver,
        draw_frontier,
        figure_kind,
        folder_pictures,
        parse_contestant,
        sample_pictures,
    )

    figure = None if plot is None else figure_kind(plot)
    if read:
        report = SolverReport.joined([_read(path) for path in read])
    else:
        names = _split(presets) + [name for text in _split(rules) for name in _rules(text)]
        contestants = [parse_contestant(name, loss=loss) for name in names]
        if plot is not None and BASELINE not in names:
            raise UsageError(f"--plot: compares with '{BASELINE}', which --presets leaves out; add it")
        loaded = [_load(text) for text in _split(models)]
        pictures = folder_pictures(folders, every=every) if folders else sample_pictures()
        with solve_progress(len(loaded) * len(contestants) * len(pictures)) as progress:

            def keep(row: object, so_far: SolverReport) -> None:
                if json_file is not None:
                    write_atomically(json_file, json_text(so_far.as_json()).encode())

            report = bench_solver(
                loaded,
                pictures,
                contestants,
                crop=crop,
                on_start=lambda model, picture, name: progress.start(f"{model}  {picture}  {name}", 1),
                on_row=keep,
            )
        if json_file is not None:
            write_atomically(json_file, json_text(report.as_json()).encode())
    _print(report)
    if plot is not None and figure is not None:
        write_atomically(plot, draw_frontier(report, figure))
    for failure in report.failed:
        click.echo(f"Error: {failure}", err=True)
    if report.failed:
        raise click.exceptions.Exit(1)


def _read(path: Path) -> SolverReport:
    from hcd.errors import UsageError
    from hcd_lab.bench import SolverReport

    try:
        return SolverReport.from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a report ({error}); give a file that --json wrote") from error


def _rules(text: str) -> list[str]:
    """``RULE@N``, or one for every rule."""
    from hcd.errors import UsageError
    from hcd.solver import RULES

    rule, at, count = text.partition("@")
    if not at:
        raise UsageError(f"rule '{text}': give its number of evaluations too, such as {text}@40")
    return [f"{name}@{count}" for name in RULES] if rule == "all" else [text]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _load(text: str) -> Rescaler:
    from hcd.zoo import load

    name, _, weights = text.partition("=")
    return load(name, weights=weights) if weights else load(name)


def _print(report: SolverReport) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    headings = ("", "dB", "/paper", "worst", "evals", "s", "/paper", "LR dB", "worst", "recv.")
    for model in dict.fromkeys(row.model for row in report.rows):
        pictures = len({row.picture for row in report.rows if row.model == model})
        table = Table(*headings, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=f"{model}, {pictures} pictures")
        table.columns[0].overflow = "fold"
        for column in table.columns[1:]:
            column.no_wrap, column.justify = True, "right"
        for mean in report.means():
            if mean.model == model:
                table.add_row(
                    mean.contestant,
                    f"{mean.gain:+.2f}",
                    _or_dash(mean.of_baseline, ".2f"),
                    f"{mean.worst_gain:+.2f}",
                    f"{mean.evaluations:.0f}",
                    f"{mean.seconds:.1f}",
                    _or_dash(mean.of_baseline_seconds, ".3f"),
                    f"{mean.lr_psnr:.1f}",
                    f"{mean.worst_lr_psnr:.1f}",
                    f"{mean.receiver_ratio:.2f}",
                )
        table.caption = "gain over plain (PSNR-Y); LR against plain LR (PSNR, RGB); receiver's time / plain"
        Console().print(table)


def _or_dash(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)
