"""``hcd convert``: convert weights between this project's format and those of the networks' authors."""

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
    help="This project's format, or the format of the network's authors.",
)
@click.option("--latent", help="Latent policy to record: zeros or gaussian:SEED. Default: the policy of the weights.")
def command(source: Path, out: Path, kind: str, latent: str | None) -> None:
    """Convert official weights (a file, or GRAIN's folder) to this project's format, or back.

    The values stay the same. The network is recognized by its tensors, and nothing from a file is executed. The new
    file has another hash: an LR file that was made with one of the two can only be rebuilt with the same one.
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
            f"load with {done.latent} by default.",
            err=True,
        )
