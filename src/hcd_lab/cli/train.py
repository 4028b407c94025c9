"""``hcd train``: train weights on folders of pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hcd.cli.options import duration_option

if TYPE_CHECKING:
    from hcd_lab.train import Progress


@click.command("train")
@click.argument("recipe")
@click.option(
    "--data", type=click.Path(path_type=Path), multiple=True, required=True, help="Folder of pictures; repeatable."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of checkpoint and weights.")
@click.option("--validation", type=click.Path(path_type=Path), help="Folder of pictures to measure PSNR on.")
@click.option("--resume", is_flag=True, help="Resume the run in OUT, if there is one.")
@duration_option("--time-limit", help="End after this time (90s, 25m, 2h), with usable weights.")
@click.option("--steps", type=click.IntRange(min=1), help="Number of steps, instead of the recipe's.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Precision of convolutions for the recipe's share of the steps; auto measures which is faster.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the couplings (minutes to start, then faster).")
@click.option("--tensorboard", type=click.Path(path_type=Path), help="Folder for TensorBoard logs.")
def command(
    recipe: str,
    data: tuple[Path, ...],
    out: Path,
    validation: Path | None,
    resume: bool,
    time_limit: float | None,
    steps: int | None,
    device: str,
    precision: str,
    compiled: bool,
    tensorboard: Path | None,
) -> None:
    """Train RECIPE (a name, for instance irn-x4, or a .toml file) on the pictures in the data folders.

    Under torchrun, each process trains on its share of every batch.
    """
    from dataclasses import replace

    from hcd.errors import UsageError
    from hcd.zoo import pick_device
    from hcd_lab.cli.training import tensorboard_log, training_progress
    from hcd_lab.train import (
        Execution,
        Patches,
        Validation,
        get_recipe,
        join_world,
        picture_files,
        prefers_bfloat16,
        train,
    )

    chosen = get_recipe(recipe)
    if steps is not None:
        chosen = replace(chosen, steps=steps)
    checkpoint = out / f"{chosen.name}.checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise UsageError(f"{checkpoint}: holds a run already; add --resume, or choose another folder")
    device = pick_device(device)
    with join_world(device) as world:
        device = world.device(device)
        patches = Patches(picture_files(data), scale=chosen.scale, smallest=chosen.largest_patch, device=device)
        measure = None
        if validation is not None and world.leads:
            measure = Validation(picture_files([validation]), scale=chosen.scale, device=device)
        bfloat16 = precision == "bfloat16" or (precision == "auto" and world.any(prefers_bfloat16(chosen, device)))
        execution = Execution(device=device, bfloat16=bfloat16, compiled=compiled)
        with (
            training_progress(chosen.name, chosen.steps, shown=world.leads) as progress,
            tensorboard_log(tensorboard) as log,
        ):
            progress.print(f"{chosen.name}: {len(patches)} pictures, {chosen.steps} steps, {execution}")

            def on_step(state: Progress) -> None:
                progress.show(state)
                log(state)

            weights = train(
                chosen,
                patches,
                out,
                execution=execution,
                world=world,
                validation=measure,
                time_limit=math.inf if time_limit is None else time_limit,
                on_step=on_step,
            )
            progress.end(weights)
