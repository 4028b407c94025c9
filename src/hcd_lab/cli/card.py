"""``hcd card``: write a model card from a weights file and measured metrics."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("card")
@click.argument("weights", type=click.Path(path_type=Path))
@click.option(
    "--result",
    "results",
    type=(str, click.Path(path_type=Path)),
    multiple=True,
    metavar="SET FILE",
    help="Name of a set and a file of 'hcd evaluate --json' on it; repeatable.",
)
@click.option("--note", default="", help="A paragraph for the card, for instance on the training pictures.")
def command(weights: Path, results: tuple[tuple[str, Path], ...], note: str) -> None:
    """Write the card of WEIGHTS (.md), and the metrics that 'hcd models' shows (.figures.json), beside it."""
    from hcd.errors import UsageError
    from hcd.files import write_atomically
    from hcd_lab.train import render_card

    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for name, file in results:
        try:
            # Presets of one set may have been measured in several runs.
            means = json.loads(file.read_text("utf-8"))["mean"]
            metrics.setdefault(name, {}).update({preset: dict(mean) for preset, mean in means.items()})
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UsageError(f"{file}: not a result of 'hcd evaluate --json' ({error})") from error
    card = weights.with_suffix(".md")
    write_atomically(card, render_card(weights, metrics=metrics, note=note).encode())
    click.echo(f"card: {card}")
    if metrics:
        beside = weights.with_suffix(".figures.json")
        write_atomically(beside, (json.dumps(metrics, indent=1) + "\n").encode())
        click.echo(f"metrics: {beside}")
