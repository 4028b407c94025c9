"""``hcd downscale``: downscale pictures to LR files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hcd import defaults
from hcd.cli.options import (
    json_flag,
    load_model,
    max_pixels_option,
    memory_option,
    model_options,
    out_option,
    path_argument,
    preset_option,
)
from hcd.cli.settings import settings_options

if TYPE_CHECKING:
    from hcd.pipeline import DownscaledFile


@click.command("downscale")
@path_argument("inputs", nargs=-1, required=True)
@out_option("Output file, or folder for many.")
@model_options(defaults.MODEL)
@preset_option("balanced")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["png", "webp", "jpeg", "avif"]),
    default="png",
    show_default=True,
    help="Format of the files in an output folder.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="Quality of JPEG, AVIF and lossy WebP. Default: 90, and lossless WebP.",
)
@click.option(
    "--depth",
    type=click.Choice(["8", "16"]),
    default="8",
    show_default=True,
    help="Bits per sample of the small pictures; 16 for PNG alone.",
)
@memory_option
@max_pixels_option
@settings_options
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
    changes: dict[str, Any],
    memory: int | None,
    as_json: bool,
) -> None:
    """Downscale pictures (files or folders) to small files that 'hcd upscale' rebuilds."""
    from hcd.cli import batch
    from hcd.cli.progress import solve_progress
    from hcd.collab import get_settings
    from hcd.image import MAX_PIXELS
    from hcd.pipeline import codec_of, downscale_file, lr_name

    settings = get_settings(preset, **changes)
    pairs = batch.plan(inputs, out, lambda path: lr_name(path, kind))
    for _, target in pairs:  # before any work
        codec_of(target, quality=quality, depth=int(depth))
    rescaler, _ = load_model(model, weights, device)

    with solve_progress(settings.evaluations * len(pairs)) as progress, batch.interruptible() as interrupted:

        def work(source: Path, target: Path) -> None:
            progress.start(source.name, settings.evaluations)
            done = downscale_file(
                source,
                target,
                model=rescaler,
                preset=settings,
                quality=quality,
                depth=int(depth),
                memory=memory,
                max_pixels=max_pixels or MAX_PIXELS,
                on_evaluation=progress.evaluation,
                on_tile=progress.tile,
                on_warning=lambda text: batch.warn(source, [text]),
                stop=interrupted,
            )
            progress.print(_json(done, preset) if as_json else _line(done, preset))

        batch.run(pairs, work, debug=ctx.find_root().params["debug"], interrupted=interrupted)


def _json(done: DownscaledFile, preset: str) -> str:
    from hcd.jsontext import json_text

    facts = {
        "input": str(done.source),
        "output": str(done.path),
        "model": done.model,
        "preset": preset,
        "width": done.width,
        "height": done.height,
        "lr_bytes": done.lr_bytes,
        "plain_psnr_rgb": done.plain_psnr,
        "psnr_rgb": done.psnr,
        "grad_evals": done.grad_evals,
        "seconds": round(done.seconds, 3),
    }
    return json_text(facts, indent=None)


def _line(done: DownscaledFile, preset: str) -> str:
    text = f"{done.source} → {done.path}  {done.hr_width}×{done.hr_height} → {done.width}×{done.height}"
    text += f"  {done.lr_bytes / 1000:.1f} kB  {done.model} {preset}"
    if done.psnr is not None:
        text += f"  rebuilds at {done.psnr:.2f} dB (plain {done.plain_psnr:.2f})  {done.grad_evals} evaluations"
    return text + f"  {done.seconds:.1f} s"
