"""``hcd convert``: weights files from and to the formats of the networks' authors."""

from __future__ import annotations

from pathlib import Path

import click

from hcd.cli.options import out_option, path_argument


@click.command("convert")
@path_argument("source", metavar="IN")
@out_option("File to write: ….safetensors; with --to official ….pth, or a folder for GRAIN.")
@click.option(
    "--to",
    "kind",
    type=click.Choice(["hcd", "official"]),
    default="hcd",
    show_default=True,
    help="This project's format, or that of the network's authors.",
)
@click.option("--latent", help="Latent policy to record: zeros or gaussian:SEED. Default: that of the weights.")
def command(source: Path, out: Path, kind: str, latent: str | None) -> None:
    """Convert official weights (a file, or GRAIN's folder) to this project's format, or back; values stay the same.

    The network is told by its tensors. Nothing from a file is executed. The new file has another hash, so LR
    files that were made with one of the two are rebuilt with just that one.
    """
    from hcd.errors import printable
    from hcd.zoo import FAMILIES, convert

    done = convert(source, out, official=kind == "official", latent=latent)
    settings = ", ".join(f"{name} {value}" for name, value in done.settings.items())
    click.echo(
        printable(
            f"{source} → {out}  {FAMILIES[done.family].title} ×{done.scale} ({settings}), {done.tensors} tensors, "
            f"latent {done.latent}"
        )
    )
    if done.dropped_latent:
        click.echo(
            f"Note: official files record no latent; these weights upscale best with {done.dropped_latent}, but will "
            f"load with {done.latent} unless another is asked for.",
            err=True,
        )
