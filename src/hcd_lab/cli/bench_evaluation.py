"""``hcd bench evaluation``: a gradient evaluation and an upscaling against the reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hcd_lab.cli.bench_result import (
    MIB,
    Column,
    benchmark_model_options,
    json_option,
    print_rows,
    size_of,
    split,
    title_of,
    write_json,
)  # fmt: skip

if TYPE_CHECKING:
    from hcd_lab.bench import BenchmarkModel
    from hcd_lab.bench.result import Row

_COLUMNS = (
    Column("stage", "what"),
    Column("size", "size"),
    Column("s", "seconds", ".2f"),
    Column("s/MP", "seconds_per_megapixel", ".1f"),
    Column("MiB", "peak_bytes", ".0f", MIB),
    Column("reference: s", "reference_seconds", ".2f"),
    Column("MiB", "reference_peak_bytes", ".0f", MIB),
    Column("faster", "faster", ".2f"),
    Column("by CPU", "faster_cpu", ".2f"),
    Column("smaller", "smaller", ".1f"),
    Column("conv", "convolution_share", ".0%"),
)


@click.command("evaluation", short_help="A gradient evaluation, and upscaling.")
@click.option("--sizes", default="256,512", show_default=True, help="Comma-separated: sides, or WIDTHxHEIGHT.")
@click.option("--stages", default="lr,hr,upscale", show_default=True, help="Comma-separated: lr, hr, upscale.")
@click.option("--repeats", type=int, default=3, show_default=True, help="Number of runs; the shortest counts.")
@click.option("--reference/--no-reference", default=True, help="Also run the reference, where it fits into memory.")
@click.option(
    "--precisions", default="float32,bfloat16", show_default=True, help="Precisions of gradients, where available."
)
@json_option
@benchmark_model_options
def command(
    benchmark_model: BenchmarkModel,
    sizes: str,
    stages: str,
    repeats: int,
    reference: bool,
    precisions: str,
    json_file: Path | None,
) -> None:
    """Measure seconds and memory of one gradient evaluation of each stage, and of upscaling, over picture sizes.

    The reference is a transcription of the published scheme: autograd with gradients for weights, concatenation,
    float32, no tiles. "By CPU" compares CPU time, which depends less on other work on the machine. "Conv" is the CPU
    time of the same convolutions in isolation, direct and in float32, over that of everything.
    """
    from hcd_lab.bench import EvaluationBenchmark, bench_evaluation, parse_size

    settings = EvaluationBenchmark(
        model=benchmark_model,
        sizes=tuple(map(parse_size, split(sizes))),
        stages=split(stages),
        repeats=repeats,
        reference=reference,
        precisions=split(precisions),
    )
    result = bench_evaluation(settings, on_row=lambda row: click.echo(_line(row), err=True))
    rows = [{**row, "what": f"{row['stage']}, {row['precision']}", "size": size_of(row)} for row in result.rows]
    print_rows(rows, _COLUMNS, title=title_of(result))
    write_json(result, json_file)


def _line(row: Row) -> str:
    peak = row["peak_bytes"] / MIB
    return f"{row['stage']} {row['precision']} {size_of(row)}: {row['seconds']:.2f} s, {peak:.0f} MiB"
