"""``hcd upscale``: LR files in, large pictures out."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from hcd.cli.options import json_flag, max_pixels_option, memory_option, model_options, out_option, path_argument


@click.command("upscale")
@path_argument("inputs", nargs=-1, required=True)
@out_option("Output file, or folder for many.")
@click.option(
    "--depth",
    type=click.Choice(["8", "16"]),
    help="Bits per sample of the large pictures, 16 for PNG alone. Default: those of the LR file.",
)
@max_pixels_option
@model_options(None)
@memory_option
@json_flag("Print one JSON object per picture.")
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[Path, ...],
    out: Path,
    depth: str | None,
    max_pixels: int | None,
    model: str | None,
    weights: Path | None,
    device: str,
    memory: int | None,
    as_json: bool,
) -> None:
    """Rebuild the large pictures from LR files (or upscale any picture with --model)."""
    from hcd.cli import batch
    from hcd.errors import printable
    from hcd.files import write_atomically
    from hcd.image import MAX_PIXELS, check_depth, encode, kind_of, losses_of_format
    from hcd.pipeline import Receiver
    from hcd.zoo import pick_device

    pairs = batch.plan(inputs, out, lambda path: f"{path.stem.removesuffix('.lr')}.png")
    bits = None if depth is None else int(depth)
    for _, target in pairs:
        kind_of(target.suffix.lower())
        check_depth(bits or 8, target)
    receiver = Receiver(
        model=model,
        weights=weights,
        device=pick_device(device),
        memory=memory,
        max_pixels=max_pixels or MAX_PIXELS,
        depth=bits,
    )

    def work(source: Path, target: Path) -> None:
        started = time.monotonic()
        picture = receiver.restore(source)
        suffix = target.suffix.lower()
        batch.warn(source, (*picture.warnings, *losses_of_format(picture, target)))
        write_atomically(target, encode(picture, suffix, depth=picture.depth if suffix == ".png" else 8))
        seconds = time.monotonic() - started
        if as_json:
            facts = {"input": str(source), "output": str(target), "width": picture.width, "height": picture.height}
            click.echo(json.dumps({**facts, "seconds": round(seconds, 3)}))
        else:
            click.echo(printable(f"{source} → {target}  {picture.width}×{picture.height}  {seconds:.1f} s"))

    batch.run(pairs, work, debug=ctx.find_root().params["debug"])
