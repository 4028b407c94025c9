"""``hcd bench solver``: gain and cost of presets and step rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hcd_lab.cli.bench_result import Column, json_option, print_rows, split, write_json

if TYPE_CHECKING:
    from hcd.rescaler import Rescaler
    from hcd_lab.bench import BenchResult

_COLUMNS = (
    Column("", "method"),
    Column("dB", "gain", "+.2f"),
    Column("/paper", "gain_of_paper", ".2f"),
    Column("worst", "worst_gain", "+.2f"),
    Column("evals", "evaluations", ".0f"),
    Column("s", "seconds", ".1f"),
    Column("/paper", "seconds_of_paper", ".3f"),
    Column("LR dB", "lr_psnr", ".1f"),
    Column("worst", "worst_lr_psnr", ".1f"),
    Column("recv.", "receiver_ratio", ".2f"),
)
_CAPTION = "gain over plain (PSNR-Y); LR against plain LR (PSNR, RGB); receiver's time / plain"


@click.command("solver", short_help="Presets and step rules: gain against seconds.")
@click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--models", default="irn-x4", show_default=True, help="Comma-separated; NAME or NAME=WEIGHTS.")
@click.option("--presets", default="paper,fast,balanced,best", show_default=True, help="Comma-separated.")
@click.option("--rules", default="", help="Comma-separated RULE@EVALUATIONS, such as lbfgs@40; 'all@N' for every rule.")
@click.option("--loss", help="Replace the loss of all presets but paper, for instance by rgb or y.")
@click.option("--crop", type=int, help="Longest side of the center that is used of a picture.")
@click.option("--every", type=int, default=1, show_default=True, help="Use every n-th picture of each folder.")
@json_option
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the frontier: .png, .svg or .pdf.")
@click.option(
    "--read",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Show results of earlier --json files instead of measuring; repeatable.",
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
    """Measure what presets and step rules gain over plain, and their cost against the published scheme.

    Runs on every picture of the folders, by default on three photographs of scikit-image; gains are of the decoded
    8-bit files. Seconds depend on the machine, their ratio hardly does.
    """
    from hcd.cli.progress import solve_progress
    from hcd.errors import UsageError
    from hcd.files import write_atomically
    from hcd_lab.bench import (
        BASELINE,
        bench_solver,
        draw_frontier,
        every_nth,
        figure_kind,
        folder_images,
        parse_method,
        sample_images,
    )

    kind = None if plot is None else figure_kind(plot)
    if read:
        result = _read(read)
    else:
        names = [*split(presets), *(name for text in split(rules) for name in _rules(text))]
        methods = [parse_method(name, loss=loss) for name in names]
        if plot is not None and BASELINE not in names:
            raise UsageError(f"--plot: compares with '{BASELINE}', which --presets leaves out; add it")
        loaded = [_load(text) for text in split(models)]
        images = [image for folder in folders for image in every_nth(folder_images(folder), every)]
        images = images if folders else sample_images()
        with solve_progress(len(loaded) * len(methods) * len(images)) as progress:
            result = bench_solver(
                loaded,
                images,
                methods,
                crop=crop,
                on_start=lambda model, picture, name: progress.start(f"{model}  {picture}  {name}", 1),
                # Kept up to date, since a run may take hours.
                on_row=lambda so_far: _write(so_far, json_file),
            )
        _write(result, json_file)
    _print(result)
    if plot is not None and kind is not None:
        write_atomically(plot, draw_frontier(result, kind))
    for failure in result.failed:
        click.echo(f"Error: {failure}", err=True)
    if result.failed:
        raise click.exceptions.Exit(1)


def _write(result: BenchResult, path: Path | None) -> None:
    from hcd_lab.bench.solver import means

    write_json(result, path, mean=means(result))


def _read(paths: tuple[Path, ...]) -> BenchResult:
    from hcd.errors import UsageError
    from hcd_lab.bench import BenchResult
    from hcd_lab.bench.solver import FIELDS

    values = []
    for path in paths:
        try:
            values.append(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read as a result ({error}); give a file that --json wrote") from error
    return BenchResult.joined(values, benchmark="solver", fields=FIELDS)


def _rules(text: str) -> list[str]:
    """Parse ``RULE@N``, or ``all@N`` for every rule."""
    from hcd.errors import UsageError
    from hcd.solver import RULES

    rule, at, count = text.partition("@")
    if not at:
        raise UsageError(f"rule '{text}': give its number of evaluations too, such as {text}@40")
    return [f"{name}@{count}" for name in RULES] if rule == "all" else [text]


def _load(text: str) -> Rescaler:
    from hcd.zoo import load

    name, _, weights = text.partition("=")
    return load(name, weights=weights) if weights else load(name)


def _print(result: BenchResult) -> None:
    from hcd_lab.bench.solver import means

    for model in result.values("model"):
        rows = [mean for mean in means(result) if mean["model"] == model]
        pictures = len({row["picture"] for row in result.select(model=model)})
        print_rows(rows, _COLUMNS, title=f"{model}, {pictures} pictures", caption=_CAPTION)
