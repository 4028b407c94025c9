"""``hcd downscale``: pictures in, LR files out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from hcd.cli.options import given, model_options, path_argument, preset_option, solver_options


@click.command("downscale")
@path_argument("inputs", nargs=-1, required=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Output file, or folder for many.")
@click.option("--format", "kind", type=click.Choice(["png", "webp"]), default="png", show_default=True)
@model_options("irn-x4")
@preset_option("balanced")
@solver_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per picture.")
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
    as_json: bool,
    **solver: Any,
) -> None:
    """Downscale pictures (files or folders) to small PNG or WebP files that 'hcd upscale' rebuilds."""
    from hcd import load
    from hcd.cli import batch
    from hcd.cli.progress import solve_progress
    from hcd.collab import get_settings
    from hcd.errors import UsageError
    from hcd.files import write_atomically
    from hcd.image import LOSSLESS_SUFFIXES, SUFFIXES, encode_lr, read_picture
    from hcd.pipeline import downscale_picture, pick_device

    settings = given(**solver)
    configured = get_settings(preset, **settings)
    steps = configured.steps_hr + configured.steps_lr
    pairs = batch.plan(inputs, out, lambda path: f"{path.stem}.lr.{kind}", SUFFIXES)
    for _, target in pairs:
        if target.suffix.lower() not in LOSSLESS_SUFFIXES:
            raise UsageError(f"{target}: an LR file is {' or '.join(LOSSLESS_SUFFIXES)}; change the suffix")
    device = pick_device(device)
    rescaler = load(model, weights=weights, device=device)

    with solve_progress(steps * len(pairs)) as progress:

        def work(source: Path, target: Path) -> None:
            progress.start(source.name, steps)
            picture = read_picture(source)
            small = downscale_picture(
                picture, rescaler, preset, device=device, on_evaluation=progress.evaluation, **settings
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
            progress.print(_json(facts) if as_json else _line(picture.width, picture.height, facts))

        batch.run(pairs, work, debug=ctx.find_root().params["debug"])


def _json(facts: dict[str, Any]) -> str:
    """One line of standard JSON, which has no infinity."""
    return json.dumps({k: None if v == math.inf else v for k, v in facts.items()}, allow_nan=False)


def _line(width: int, height: int, facts: dict[str, Any]) -> str:
    text = f"{facts['input']} → {facts['output']}  {width}×{height} → {facts['width']}×{facts['height']}"
    text += f"  {facts['lr_bytes'] / 1000:.1f} kB  {facts['model']} {facts['preset']}"
    if facts["psnr_rgb"] is not None:
        text += f"  rebuilds at {facts['psnr_rgb']:.2f} dB (plain {facts['plain_psnr_rgb']:.2f})"
        text += f"  {facts['grad_evals']} evaluations"
    return text + f"  {facts['seconds']:.1f} s"
