"""``hcd downscale``: pictures in, LR files out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hcd.cli.options import (
    given,
    json_flag,
    load_model,
    memory_option,
    model_options,
    out_option,
    path_argument,
    preset_option,
    solver_options,
)


@click.command("downscale", short_help="Make small pictures.")
@path_argument("inputs", nargs=-1, required=True)
@out_option("Output file, or folder for many.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["png", "webp"]),
    default="png",
    show_default=True,
    help="Of the files in an output folder.",
)
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
    model: str,
    weights: Path | None,
    device: str,
    preset: str,
    memory: int | None,
    as_json: bool,
    **solver: Any,
) -> None:
    """Downscale pictures (files or folders) to small PNG or WebP files that 'hcd upscale' rebuilds."""
    from hcd.cli import batch
    from hcd.cli.progress import solve_progress
    from hcd.collab import get_settings
    from hcd.errors import UsageError
    from hcd.evaluate import json_text
    from hcd.files import write_atomically
    from hcd.image import LOSSLESS_SUFFIXES, encode_lr, read_picture
    from hcd.pipeline import downscale_picture

    settings = given(**solver)
    configured = get_settings(preset, **settings)
    steps = configured.evaluations
    pairs = batch.plan(inputs, out, lambda path: f"{path.stem}.lr.{kind}")
    for _, target in pairs:
        if target.suffix.lower() not in LOSSLESS_SUFFIXES:
            raise UsageError(f"{target}: an LR file is {' or '.join(LOSSLESS_SUFFIXES)}; change the suffix")
    rescaler, device = load_model(model, weights, device)

    with solve_progress(steps * len(pairs)) as progress, batch.interruptible() as interrupted:

        def work(source: Path, target: Path) -> None:
            progress.start(source.name, steps)
            picture = read_picture(source)
            small = downscale_picture(
                picture,
                rescaler,
                preset,
                device=device,
                memory=memory,
                on_evaluation=progress.evaluation,
                on_tile=progress.tile,
                stop=interrupted,
                **settings,
            )
            data = encode_lr(small.picture, small.info, target.suffix.lower())
            write_atomically(target, data)
            result = small.result
            facts = {
                "input": str(source),
                "output": str(target),
                "model": rescaler.name,
                "preset": preset,
                "width": small.picture.width,
                "height": small.picture.height,
                "lr_bytes": len(data),
                "plain_psnr_rgb": result.plain_psnr[0],
                "psnr_rgb": result.psnr[0],
                "grad_evals": result.grad_evals,
                "seconds": round(result.seconds, 3),
            }
            progress.print(json_text(facts, indent=None) if as_json else _line(picture.width, picture.height, facts))

        batch.run(pairs, work, debug=ctx.find_root().params["debug"], interrupted=interrupted)


def _line(width: int, height: int, facts: dict[str, Any]) -> str:
    text = f"{facts['input']} → {facts['output']}  {width}×{height} → {facts['width']}×{facts['height']}"
    text += f"  {facts['lr_bytes'] / 1000:.1f} kB  {facts['model']} {facts['preset']}"
    if facts["psnr_rgb"] is not None:
        text += f"  rebuilds at {facts['psnr_rgb']:.2f} dB (plain {facts['plain_psnr_rgb']:.2f})"
        text += f"  {facts['grad_evals']} evaluations"
    return text + f"  {facts['seconds']:.1f} s"
