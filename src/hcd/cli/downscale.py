"""``hcd downscale``: pictures in, LR files out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hcd.cli.options import (
    given,
    json_flag,
    load_model,
    max_pixels_option,
    memory_option,
    model_options,
    out_option,
    path_argument,
    preset_option,
    solver_options,
)

if TYPE_CHECKING:
    from hcd.image import Codec

_SUFFIXES = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "avif": ".avif"}
_FORMATS = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg", ".avif": "avif"}


@click.command("downscale")
@path_argument("inputs", nargs=-1, required=True)
@out_option("Output file, or folder for many.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(_SUFFIXES)),
    default="png",
    show_default=True,
    help="Of the files in an output folder.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="Of JPEG, AVIF and lossy WebP; 90 unless told. WebP without it is lossless.",
)
@click.option(
    "--depth",
    type=click.Choice(["8", "16"]),
    default="8",
    show_default=True,
    help="Bits per sample of the small pictures; 16 for PNG alone.",
)
@max_pixels_option
@model_options("irn-x4")
@preset_option("balanced")
@solver_options
@memory_option
@json_flag("Print one JSON object per picture.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    inputs: tuple[Path, ...],
    out: Path,
    kind: str,
    quality: int | None,
    depth: str,
    max_pixels: int | None,
    model: str,
    weights: Path | None,
    device: str,
    preset: str,
    memory: int | None,
    as_json: bool,
    **solver: Any,
) -> None:
    """Downscale pictures (files or folders) to small files that 'hcd upscale' rebuilds."""
    from hcd.cli import batch
    from hcd.cli.progress import solve_progress
    from hcd.collab import get_settings
    from hcd.evaluate import json_text
    from hcd.files import write_atomically
    from hcd.image import MAX_PIXELS, check_depth, read_picture
    from hcd.pipeline import downscale_picture, encode_downscaled

    settings = given(**solver)
    configured = get_settings(preset, **settings)
    steps = configured.evaluations
    pairs = batch.plan(inputs, out, lambda path: f"{path.stem}.lr{_SUFFIXES[kind]}")
    codecs = {target: _codec(target, quality) for _, target in pairs}
    bits = int(depth)
    for _, target in pairs:
        check_depth(bits, target)
    rescaler, device = load_model(model, weights, device)

    with solve_progress(steps * len(pairs)) as progress, batch.interruptible() as interrupted:

        def work(source: Path, target: Path) -> None:
            progress.start(source.name, steps)
            picture = read_picture(source, max_pixels=max_pixels or MAX_PIXELS)
            batch.warn(source, picture.warnings)
            codec = codecs[target]
            if codec is not None:
                codec.check(picture, target)
            small = downscale_picture(
                picture,
                rescaler,
                preset,
                depth=bits,
                codec=codec,
                device=device,
                memory=memory,
                on_evaluation=progress.evaluation,
                on_tile=progress.tile,
                stop=interrupted,
                **settings,
            )
            batch.warn(source, small.picture.warnings)
            encoded = encode_downscaled(
                small, picture, rescaler, target.suffix.lower(), codec, device=device, memory=memory
            )
            write_atomically(target, encoded.data)
            result = small.result
            facts = {
                "input": str(source),
                "output": str(target),
                "model": rescaler.name,
                "preset": preset,
                "width": small.picture.width,
                "height": small.picture.height,
                "lr_bytes": len(encoded.data),
                "plain_psnr_rgb": encoded.plain_psnr,
                "psnr_rgb": encoded.psnr,
                "grad_evals": result.grad_evals,
                "seconds": round(result.seconds, 3),
            }
            progress.print(json_text(facts, indent=None) if as_json else _line(picture.width, picture.height, facts))

        batch.run(pairs, work, debug=ctx.find_root().params["debug"], interrupted=interrupted)


def _codec(target: Path, quality: int | None) -> Codec | None:
    """The codec that writes a file of that name; None for the lossless ones."""
    from hcd.errors import UsageError
    from hcd.image import DEFAULT_QUALITY, Codec

    kind = _FORMATS.get(target.suffix.lower())
    if kind is None:
        raise UsageError(f"{target}: an LR file is .png, .webp, .jpg or .avif; change the suffix")
    if kind == "png" and quality is not None:
        raise UsageError(f"{target}: PNG is lossless and has no quality; leave out --quality, or use --format")
    if kind == "png" or (kind == "webp" and quality is None):
        return None
    return Codec(format=kind, quality=DEFAULT_QUALITY if quality is None else quality)


def _line(width: int, height: int, facts: dict[str, Any]) -> str:
    text = f"{facts['input']} → {facts['output']}  {width}×{height} → {facts['width']}×{facts['height']}"
    text += f"  {facts['lr_bytes'] / 1000:.1f} kB  {facts['model']} {facts['preset']}"
    if facts["psnr_rgb"] is not None:
        text += f"  rebuilds at {facts['psnr_rgb']:.2f} dB (plain {facts['plain_psnr_rgb']:.2f})"
        text += f"  {facts['grad_evals']} evaluations"
    return text + f"  {facts['seconds']:.1f} s"
