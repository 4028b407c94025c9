"""``hcd reproduce``: the publication's tables and figures, measured again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from hcd.cli.options import out_option


@click.command("reproduce")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    envvar="HCD_DATA",
    help="Folder with a folder of pictures for each set (Set5, Set14, BSD100, …). Default: HCD_DATA in the "
    "environment, and without it three photographs of scikit-image.",
)
@click.option(
    "--models", help="Comma-separated model names, or NAME=FILE with your own weights. Default: irn-x4,irn-x2."
)
@click.option("--quick", is_flag=True, help="Set5 only, and fewer settings: minutes instead of hours.")
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="Configuration of the report, a TOML file."
)
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of cached outcomes. Default: cache inside OUT.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of processes, which share the threads. Default: one for each core, 4 at most; 1 on a GPU.",
)
@out_option("Folder of the report: index.html, metrics.csv, timings.csv, report.json, report.toml.")
@click.pass_context
def command(
    ctx: click.Context,
    data: Path | None,
    models: str | None,
    quick: bool,
    config_file: Path | None,
    cache: Path | None,
    device: str,
    workers: int | None,
    out: Path,
) -> None:
    """Measure the method on benchmark sets, and write one page that compares it with the publication.

    Every outcome is cached, so that an interrupted or changed run only measures what is missing.
    """
    import torch

    from hcd.errors import UsageError, printable
    from hcd.zoo import pick_device
    from hcd_lab.cli.report_progress import report_progress
    from hcd_lab.report import FULL, QUICK, read_config, reproduce

    if quick and config_file is not None:
        raise UsageError("--quick and --config: choose one")
    config = QUICK if quick else FULL
    if config_file is not None:
        if config_file.resolve() == (out / "report.toml").resolve():
            raise UsageError(f"{config_file}: would be overwritten by what the report writes; copy it elsewhere")
        config = read_config(config_file)
    if models is not None:
        config = replace(config, models=tuple(name.strip() for name in models.split(",")))
    device = pick_device(device)
    if workers is None:
        # Each worker takes the memory of one run, and rarely has more than a core.
        workers = min(torch.get_num_threads(), 4) if device == "cpu" else 1
    try:
        with report_progress() as progress:
            done = reproduce(config, out, data=data, cache=cache, device=device, workers=workers, progress=progress)
    except KeyboardInterrupt:
        click.echo(f"interrupted: outcomes are in {cache or out / 'cache'}, the same command goes on", err=True)
        ctx.exit(1)
    if data is None:
        click.echo("no folder of sets given (--data): measured on photographs of scikit-image", err=True)
    else:
        for name in done.missing:
            click.echo(printable(f"{name}: not in {data}, left out"), err=True)
    for title, reason in done.failed.items():
        click.echo(f"Error: {title}: {reason}", err=True)
    click.echo(str(done.page))
    if done.failed:
        ctx.exit(1)
