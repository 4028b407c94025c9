"""``hcd card``: a model card from a weights file and measured figures."""

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
    """Write the card of WEIGHTS, and its figures as 'hcd models' shows them, beside it (.md, .figures.json)."""
    from hcd.errors import UsageError
    from hcd.files import write_atomically
    from hcd_lab.train import render_card

    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, file in results:
        try:
            # Presets of one set may have been measured in several runs.
            means = json.loads(file.read_text("utf-8"))["mean"]
            figures.setdefault(name, {}).update({preset: dict(mean) for preset, mean in means.items()})
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UsageError(f"{file}: is no result of 'hcd evaluate --json' ({error})") from error
    card = weights.with_suffix(".md")
    write_atomically(card, render_card(weights, figures=figures, note=note).encode())
    click.echo(f"card: {card}")
    if figures:
        beside = weights.with_suffix(".figures.json")
        write_atomically(beside, (json.dumps(figures, indent=1) + "\n").encode())
        click.echo(f"figures: {beside}")
