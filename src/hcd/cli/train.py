"""``hcd train``: weights from folders of pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hcd.train import Progress


@click.command("train", short_help="Train weights.")
@click.argument("recipe")
@click.option(
    "--data", type=click.Path(path_type=Path), multiple=True, required=True, help="Folder of pictures; repeatable."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for checkpoint and weights.")
@click.option("--time-limit", type=float, help="Minutes after which the run ends with usable weights.")
def command(recipe: str, data: tuple[Path, ...], out: Path, time_limit: float | None) -> None:
    """Train RECIPE (for instance irn-x4-small); a checkpoint found in OUT is continued."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    from hcd.train import Patches, get_recipe, train

    chosen = get_recipe(recipe)
    patches = Patches(data, scale=chosen.scale, patch=chosen.patch)
    click.echo(f"{chosen.name}: {len(patches)} pictures, {chosen.steps} steps")
    console = Console(stderr=True)
    with Bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(chosen.name, total=chosen.steps)

        def show(progress: Progress) -> None:
            text = f"{chosen.name}  loss {progress.loss:.4f}  {progress.psnr:.2f} dB"
            bar.update(task, completed=progress.step, description=text)
            if progress.step % 100 == 0 and not console.is_terminal:
                click.echo(
                    f"step {progress.step}  loss {progress.loss:.5f}  PSNR {progress.psnr:.2f} dB  "
                    f"LR {progress.lr_psnr:.2f} dB  {progress.seconds:.0f} s"
                )

        seconds = math.inf if time_limit is None else time_limit * 60
        weights = train(chosen, patches, out, time_limit=seconds, on_step=show)
    click.echo(f"weights: {weights}")
