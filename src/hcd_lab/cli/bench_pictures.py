"""``hcd bench pictures``: whole pictures, downscaled and restored, against the published scheme."""

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
    Column("", "preset"),
    Column("size", "size"),
    Column("evals", "evaluations"),
    Column("tiles", "tiles"),
    Column("overlap", "overlap", ".2f"),
    Column("s/MP", "seconds_per_megapixel", ".1f"),
    Column("CPU s/MP", "cpu_seconds_per_megapixel", ".1f"),
    Column("of 1 MP", "of_a_megapixel", ".2f"),
    Column("MiB", "peak_bytes", ".0f", MIB),
    Column("up: CPU s/MP", "upscale_cpu_seconds_per_megapixel", ".1f"),
    Column("MiB", "upscale_peak_bytes", ".0f", MIB),
    Column("dB", "gain", "+.2f"),
    Column("paper: s", "paper_seconds", ".1f"),
    Column("dB", "paper_gain", "+.2f"),
    Column("faster", "faster", ".1f"),
    Column("by CPU", "faster_cpu", ".1f"),
)


@click.command("pictures", short_help="Whole pictures of growing size.")
@click.option("--sizes", default="256,1024", show_default=True, help="Comma-separated: sides, or WIDTHxHEIGHT.")
@click.option("--presets", default="fast,balanced", show_default=True, help="Comma-separated.")
@click.option("--steps-lr", type=int, help="Gradient evaluations of the LR stage. Default: the preset's.")
@click.option(
    "--reference-up-to",
    type=float,
    default=0.1,
    show_default=True,
    help="Megapixels up to which the reference solves a picture too, with its own 'paper'; 0 for none.",
)
@json_option
@benchmark_model_options
def command(
    benchmark_model: BenchmarkModel,
    sizes: str,
    presets: str,
    steps_lr: int | None,
    reference_up_to: float,
    json_file: Path | None,
) -> None:
    """Measure seconds, memory and gain of whole pictures: downscaled to an LR file and restored from it.

    Pictures are photographs with their reflections. Every run has a fresh process, and its memory is all that the
    process held. "Of 1 MP" compares CPU seconds per megapixel with those of the picture of about one megapixel.
    "Paper" is the published scheme by the reference: 15 HR and 15 LR gradients, those of weights too. Gains of random
    weights mean nothing and are not shown.
    """
    from hcd_lab.bench import EndToEndBenchmark, bench_end_to_end, parse_size

    settings = EndToEndBenchmark(
        model=benchmark_model,
        sizes=tuple(map(parse_size, split(sizes))),
        presets=split(presets),
        steps_lr=steps_lr,
        reference_megapixels=reference_up_to,
    )
    result = bench_end_to_end(settings, on_row=lambda row: click.echo(_line(row), err=True))
    hidden = {} if benchmark_model.name else {"gain": None, "paper_gain": None}
    rows = [{**row, "size": size_of(row), **hidden} for row in result.rows]
    print_rows(rows, _COLUMNS, title=title_of(result))
    write_json(result, json_file)


def _line(row: Row) -> str:
    return (
        f"{row['preset']} {size_of(row)}: {row['seconds']:.1f} s, {row['cpu_seconds']:.1f} s of CPU, "
        f"{row['peak_bytes'] / MIB:.0f} MiB; restored in {row['upscale_seconds']:.1f} s, "
        f"{row['upscale_peak_bytes'] / MIB:.0f} MiB"
    )
