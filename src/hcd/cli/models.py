"""``hcd models``: list the models that can be loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hcd.zoo import ModelEntry


@click.command("models")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per model.")
def command(name: str | None, as_json: bool) -> None:
    """List the models, including those of other installed packages; with NAME, show the card of one."""
    from hcd.zoo import SPANDREL, model_entries, plugins, shipped_hash

    if name is not None:
        click.echo(_card(name))
        return
    models: list[dict[str, object]] = [
        {"name": entry.name, "scale": entry.scale, "weights": shipped_hash(entry.name), "state": _state(entry)}
        for entry in model_entries()
    ]
    # Plug-ins are not loaded here, so that a broken one cannot break the list. Their scales stay unknown.
    models += [
        {"name": plugin.name, "scale": None, "weights": "", "state": f"from {plugin.package}"} for plugin in plugins()
    ]
    if as_json:
        for model in models:
            click.echo(json.dumps(model))
        return
    models.append({"name": f"{SPANDREL}FILE", "scale": None, "state": "any super-resolution model that spandrel loads"})
    width = max(len(str(model["name"])) for model in models)
    for model in models:
        scale = "" if model["scale"] is None else f"×{model['scale']}"
        click.echo(f"{model['name']:<{width}} {scale:<3}  {model['state']}")


def _state(entry: ModelEntry) -> str:
    from hcd.zoo import read_metadata, shipped_hash

    if entry.family is None:
        return "needs no weights"
    if entry.weights_file is not None:
        state = f"weights {shipped_hash(entry.name)}, latent {read_metadata(entry.weights_file).get('latent', '')}"
        plain = [
            f"{place} {means['plain']['psnr_y']:.2f}" for place, means in entry.metrics.items() if "plain" in means
        ]
        return ", ".join([state, *([f"plain PSNR-Y (dB): {', '.join(plain)}"] if plain else [])])
    if entry.missing:
        return entry.missing
    return f"needs --weights; official ones: {entry.family.source}"


def _card(name: str) -> str:
    from hcd.errors import ModelError
    from hcd.zoo import get_entry

    entry = get_entry(name)
    if entry.card is None:
        raise ModelError(f"{name}: {entry.missing or 'has no card, since no weights ship under this name'}")
    return entry.card.read_text("utf-8").rstrip()
