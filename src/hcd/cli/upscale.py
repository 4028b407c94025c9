"""``hcd upscale``: rebuild large pictures from LR files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hcd.cli.options import json_flag, max_pixels_option, memory_option, model_options, out_option, path_argument


@click.command("upscale")
@path_argument("inputs", nargs=-1, required=True)
@out_option("Output file, or folder for many.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["png", "webp", "jpeg", "avif", "tiff", "bmp"]),
    default="png",
    show_default=True,
    help="Format of the files in an output folder.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="Quality of JPEG, AVIF and lossy WebP. Default: 95, and lossless WebP.",
)
@click.option(
    "--depth",
    type=click.Choice(["8", "16"]),
    help="Bits per sample of the large pictures; 16 for PNG alone. Default: those of the LR file.",
)
@model_options(None)
@memory_option
@max_pixels_option
@json_flag("Print one JSON object per picture.")
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[Path, ...],
    out: Path,
    kind: str,
    quality: int | None,
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
    from hcd.image import MAX_PIXELS
    from hcd.pipeline import Receiver, upscale_with, upscaled_name, upscaled_path
    from hcd.zoo import pick_device

    pairs = batch.plan(inputs, out, lambda path: upscaled_name(path, kind))
    bits = None if depth is None else int(depth)
    for source, target in pairs:  # before any work
        upscaled_path(source, target, quality=quality, depth=bits)
    receiver = Receiver(
        model=model,
        weights=weights,
        device=pick_device(device),
        memory=memory,
        max_pixels=max_pixels or MAX_PIXELS,
        depth=bits,
    )

    def work(source: Path, target: Path) -> None:
        done = upscale_with(
            receiver, source, target, quality=quality, on_warning=lambda text: batch.warn(source, [text])
        )
        if as_json:
            facts = {"input": str(source), "output": str(target), "width": done.width, "height": done.height}
            click.echo(json.dumps({**facts, "seconds": round(done.seconds, 3)}))
        else:
            click.echo(printable(f"{source} → {target}  {done.width}×{done.height}  {done.seconds:.1f} s"))

    batch.run(pairs, work, debug=ctx.find_root().params["debug"])
