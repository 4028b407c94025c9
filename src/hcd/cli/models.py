"""``hcd models``: what can be loaded here."""

from __future__ import annotations

import json

import click


@click.command("models", short_help="List the models.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per model.")
def command(name: str | None, as_json: bool) -> None:
    """List the models; with NAME, show that model's card."""
    from hcd.errors import ModelError
    from hcd.zoo import get_entry, model_entries, read_metadata, shipped_hash

    if name is not None:
        entry = get_entry(name)
        if entry.card is None and entry.default is not None:
            entry = get_entry(entry.default)
        if entry.card is None:
            raise ModelError(f"{name}: has no card, since no weights ship under this name")
        click.echo(entry.card.read_text("utf-8").rstrip())
        return
    for entry in model_entries():
        facts: dict[str, object] = {"name": entry.name, "scale": entry.scale, "weights": shipped_hash(entry.name)}
        if entry.architecture == "bicubic":
            state = "needs no weights"
        elif entry.weights_file is not None:
            latent = read_metadata(entry.weights_file).get("latent", "")
            state = f"weights {facts['weights']}, latent {latent}"
        elif entry.default is not None:
            state = f"its full-size weights do not ship yet: stands for {entry.default} unless --weights is given"
        else:
            state = "needs --weights"
        click.echo(json.dumps({**facts, "state": state}) if as_json else f"{entry.name:<14} ×{entry.scale}  {state}")
