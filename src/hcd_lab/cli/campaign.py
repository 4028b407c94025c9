"""``hcd campaign``: improve shipped weights in a given time."""

from __future__ import annotations

import math
from pathlib import Path

import click

from hcd.cli.options import duration_option


@click.command("campaign")
@click.option(
    "--data", type=click.Path(path_type=Path), multiple=True, required=True, help="Folder of pictures; repeatable."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of plan, log and weights.")
@duration_option("--time", help="Time of the whole campaign (90s, 25m, 2h).", required=True)
@duration_option("--time-limit", help="Time of this call; the next one in the same OUT continues.")
@click.option(
    "--recipe", help="Recipe to train. Default: the recipe with the smallest share of its published training."
)
@click.option(
    "--validation", type=click.Path(path_type=Path), help="Folder to measure PSNR on. Default: held-out data."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
def command(
    data: tuple[Path, ...],
    out: Path,
    time: float,
    time_limit: float | None,
    recipe: str | None,
    validation: Path | None,
    device: str,
) -> None:
    """Spend a given time on the shipped weights that need it most.

    Measures which precision, batch and compilation train fastest here, fits the schedule to the time, continues from
    the shipped weights, and writes new weights, a log and a model card to OUT.
    """
    import time as clock

    from hcd.errors import UsageError
    from hcd.files import write_atomically
    from hcd.zoo import pick_device
    from hcd_lab.cli.training import training_progress
    from hcd_lab.train import (
        least_trained,
        make_plan,
        picture_files,
        read_plan,
        render_card,
        run_campaign,
        write_plan,
    )

    began = clock.monotonic()
    device = pick_device(device)
    files, checks = picture_files(data), picture_files([validation]) if validation else []
    kept = out / "campaign.json"
    if kept.exists():
        plan = read_plan(kept, device=device)
        if recipe not in (None, plan.recipe.name):
            raise UsageError(f"{kept}: is a campaign for {plan.recipe.name}, not {recipe}; choose another folder")
    else:
        plan = make_plan(recipe or least_trained(), seconds=time, device=device, report=click.echo)
        write_plan(kept, plan)
    click.echo(
        f"{plan.recipe.name}: {plan.recipe.steps} steps from {plan.recipe.start or 'nothing'}, "
        f"{plan.share_of_peak:.0%} of the peak of matrix products here"
    )
    limit = math.inf if time_limit is None else time_limit - (clock.monotonic() - began)
    with training_progress(plan.recipe.name, plan.recipe.steps, shown=True) as progress:
        weights = run_campaign(
            files,
            out,
            plan=plan,
            time_limit=limit,
            validation_files=checks,
            report=progress.print,
            on_step=progress.show,
        )
        progress.end(weights)
    card = weights.with_suffix(".md")
    write_atomically(card, render_card(weights).encode())
    click.echo(f"card: {card}")
