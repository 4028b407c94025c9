"""``hcd bench evaluation``: a gradient evaluation and an upscaling against the plain transcription."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hcd.cli.options import given, subject_options

if TYPE_CHECKING:
    from hcd_lab.bench import EvaluationReport, EvaluationRow


@click.command("evaluation", short_help="A gradient evaluation, and upscaling.")
@click.option("--sizes", default="256,512", show_default=True, help="Comma-separated: sides, or WIDTHxHEIGHT.")
@click.option("--stages", default="lr,hr,upscale", show_default=True, help="Of lr, hr, upscale.")
@click.option("--repeats", type=int, default=3, show_default=True, help="The shortest of so many runs counts.")
@click.option("--plain/--no-plain", default=True, help="Run the plain transcription beside it, where it fits.")
@click.option("--precisions", default="float32,bfloat16", show_default=True, help="Of gradients, where it has them.")
@subject_options
def command(
    sizes: str,
    blocks: str,
    model: str | None,
    stages: str,
    repeats: int,
    threads: int | None,
    plain: bool,
    precisions: str,
    device: str,
    memory: int | None,
    json_file: Path | None,
) -> None:
    """Seconds and memory of one gradient evaluation of each stage, and of upscaling, over picture sizes.

    Compared with a plain transcription of the published scheme: autograd with gradients for weights, concatenation,
    float32, no tiles. "By CPU" compares the time that cores spent, which other work on the machine stretches less.
    "Conv" is what the same convolutions take by themselves, direct and in float32, over what everything takes.
    """
    from hcd.files import write_atomically
    from hcd.jsontext import json_text
    from hcd.zoo import pick_device
    from hcd_lab.bench import EvaluationBenchmark, bench_evaluation, parse_blocks, parse_size

    settings = EvaluationBenchmark(
        sizes=tuple(parse_size(size) for size in sizes.split(",")),
        blocks=parse_blocks(blocks),
        stages=tuple(stage.strip() for stage in stages.split(",")),
        repeats=repeats,
        plain=plain,
        precisions=tuple(precision.strip() for precision in precisions.split(",")),
        device=pick_device(device),
        **given(model=model, threads=threads, memory=memory),
    )
    report = bench_evaluation(settings, on_row=lambda row: click.echo(_line(row), err=True))
    _print(report)
    if json_file is not None:
        write_atomically(json_file, json_text(report.as_json()).encode())


def _line(row: EvaluationRow) -> str:
    return (
        f"{row.stage} {row.precision} {row.width}×{row.height}: {row.seconds:.2f} s, {row.peak_bytes / 2**20:.0f} MiB"
    )


def _print(report: EvaluationReport) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    headings = ("stage", "size", "s", "s/MP", "MiB", "plain: s", "MiB", "faster", "by CPU", "smaller", "conv")
    table = Table(*headings, box=SIMPLE_HEAD, title=f"{report.model}, {report.device}, {report.threads} threads")
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    for row in report.rows:
        table.add_row(
            f"{row.stage}, {row.precision}",
            f"{row.width}×{row.height}",
            f"{row.seconds:.2f}",
            f"{row.seconds / row.megapixels:.1f}",
            f"{row.peak_bytes / 2**20:.0f}",
            _or_dash(row.reference_seconds, ".2f"),
            _or_dash(None if row.plain_peak_bytes is None else row.plain_peak_bytes / 2**20, ".0f"),
            _or_dash(row.faster, ".2f"),
            _or_dash(row.faster_cpu, ".2f"),
            _or_dash(row.smaller, ".1f"),
            f"{row.convolution_share:.0%}",
        )
    console = Console()
    if not console.is_terminal:  # a file or pipe is as wide as what goes into it
        console = Console(width=120)
    console.print(table)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
