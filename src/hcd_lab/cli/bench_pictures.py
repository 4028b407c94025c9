"""``hcd bench pictures``: whole pictures downscaled and rebuilt, over their sizes, and against the published scheme."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hcd.cli.options import given, subject_options

if TYPE_CHECKING:
    from hcd_lab.bench import EndToEndReport, EndToEndRow


@click.command("pictures", short_help="Whole pictures of growing size.")
@click.option("--sizes", default="256,1024", show_default=True, help="Comma-separated: sides, or WIDTHxHEIGHT.")
@click.option("--presets", default="fast,balanced", show_default=True, help="Comma-separated.")
@click.option("--steps-lr", type=int, help="Gradient evaluations of the LR stage. Default: the preset's.")
@click.option(
    "--plain-up-to",
    type=float,
    default=0.1,
    show_default=True,
    help="Megapixels up to which the plain transcription solves a picture too, by its own 'paper'; 0 for none.",
)
@subject_options
def command(
    sizes: str,
    presets: str,
    steps_lr: int | None,
    blocks: str,
    model: str | None,
    threads: int | None,
    plain_up_to: float,
    device: str,
    memory: int | None,
    json_file: Path | None,
) -> None:
    """Seconds, memory and gain of whole pictures: downscaled into an LR file and rebuilt from it.

    Pictures are photographs with their mirror images, every run has a process of its own, and its memory is all that
    the process held. "Of 1 MP" compares CPU seconds per megapixel with those of the picture of about a megapixel.
    "Paper" is the whole published scheme in a plain transcription: 15 and 15 gradients, those of weights too. Random
    weights cost what trained ones cost, but what they gain means nothing and is left out.
    """
    from hcd.files import write_atomically
    from hcd.jsontext import json_text
    from hcd.zoo import pick_device
    from hcd_lab.bench import EndToEndBenchmark, bench_whole, parse_blocks, parse_size

    settings = EndToEndBenchmark(
        sizes=tuple(parse_size(size) for size in sizes.split(",")),
        presets=tuple(preset.strip() for preset in presets.split(",") if preset.strip()),
        blocks=parse_blocks(blocks),
        plain_megapixels=plain_up_to,
        device=pick_device(device),
        **given(model=model, threads=threads, memory=memory, steps_lr=steps_lr),
    )
    report = bench_whole(settings, on_row=lambda row: click.echo(_line(row), err=True))
    _print(report, gains=model is not None)
    if json_file is not None:
        write_atomically(json_file, json_text(report.as_json()).encode())


def _line(row: EndToEndRow) -> str:
    return (
        f"{row.preset} {row.width}×{row.height}: {row.seconds:.1f} s, {row.cpu_seconds:.1f} s of CPU, "
        f"{row.peak_bytes / 2**20:.0f} MiB; rebuilt in {row.upscale_seconds:.1f} s, "
        f"{row.upscale_peak_bytes / 2**20:.0f} MiB"
    )


def _print(report: EndToEndReport, *, gains: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    headings = ("", "size", "evals", "tiles", "overlap", "s/MP", "CPU s/MP", "of 1 MP", "MiB", "up: CPU s/MP", "MiB")
    of_paper = ("dB", "paper: s", "dB", "faster", "by CPU")
    table = Table(
        *headings, *of_paper, box=SIMPLE_HEAD, title=f"{report.model}, {report.device}, {report.threads} threads"
    )
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    for row in report.rows:
        table.add_row(
            row.preset,
            f"{row.width}×{row.height}",
            str(row.evaluations),
            str(row.tiles),
            f"{row.overlap:.2f}",
            f"{row.seconds / row.megapixels:.1f}",
            f"{row.cpu_seconds / row.megapixels:.1f}",
            _or_dash(report.of_a_megapixel(row), ".2f"),
            f"{row.peak_bytes / 2**20:.0f}",
            f"{row.upscale_cpu_seconds / row.megapixels:.1f}",
            f"{row.upscale_peak_bytes / 2**20:.0f}",
            _or_dash(row.gain if gains else None, "+.2f"),
            _or_dash(row.paper_seconds, ".1f"),
            _or_dash(row.paper_gain if gains else None, "+.2f"),
            _or_dash(row.faster, ".1f"),
            _or_dash(row.faster_cpu, ".1f"),
        )
    console = Console()
    if not console.is_terminal:  # a file or pipe is as wide as what goes into it
        console = Console(width=160)
    console.print(table)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
