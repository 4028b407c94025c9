"""Model cards: how weights were trained, and their measured metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hcd.errors import WeightsError

# PSNR-Y (dB) and SSIM-Y of plain, as published in tables 1 and 2 of Xiao et al., ECCV 2020.
_PUBLISHED = {
    ("irn", 2): {"Set5": "43.99 / 0.9871", "Set14": "40.79 / 0.9778", "BSD100": "41.32 / 0.9876"},
    ("irn", 4): {"Set5": "36.19 / 0.9451", "Set14": "32.67 / 0.9015", "BSD100": "31.64 / 0.8826"},
}
_PRESETS = ("plain", "paper", "fast", "balanced", "best")

Metrics = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Set → preset → means of ``hcd evaluate``."""


def render_card(weights: Path, *, metrics: Metrics | None = None, note: str = "") -> str:
    """Return the Markdown card of a weights file of this project.

    Args:
        weights: the ``.safetensors`` file, whose metadata are read.
        metrics: measured means by set and preset.
        note: a paragraph that is not in the metadata, for instance on the training pictures.

    Raises:
        WeightsError: the file was not written by a training run.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            facts = file.metadata() or {}
            parameters = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118 - not a mapping
        recipe = json.loads(facts["recipe"])
        network = recipe["network"]
        lines = [
            f"# {recipe['name']}",
            "",
            f"Family {network['family']}, {_shape(network)}; {parameters / 1e6:.1f} million values, half precision on",
            f"disk. Latent for upscaling: {facts['latent']}.",
            "",
            "| | |",
            "| --- | --- |",
            f"| Start | {recipe['start'] or 'random weights'} |",
            f"| Schedule | {_schedule(recipe, facts)} |",
            f"| Loss | {_loss(recipe)} |",
            f"| Pixels | {int(facts['pixels']) / 1e9:.3g} billion of HR, including those of its start |",
            f"| Machine | {facts['machine']} |",
            f"| Time | {facts['seconds']} s, without its start |",
        ]
    except (OSError, LookupError, ValueError, TypeError, SafetensorError) as error:
        raise WeightsError(f"{weights}: has no metadata of its training ({error}); give a file of hcd train") from error
    if note:
        lines += ["", note]
    if metrics:
        lines += ["", *_table(recipe["name"], metrics, _PUBLISHED.get((network["family"], _scale(network)), {}))]
    return "\n".join(lines) + "\n"


def _shape(network: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in network.items() if key != "family")


def _scale(network: Mapping[str, Any]) -> int:
    return 1 << len(network["blocks"]) if "blocks" in network else 4


def _schedule(recipe: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    phases = ", then ".join(
        f"{s['share']:.0%} with {s['batch']} patches of {s['patch']}²" for s in recipe.get("phases") or recipe["stages"]
    )
    return (
        f"{facts['steps']} of {recipe['steps']} steps: {phases}; {recipe['optimizer']}, rate up to "
        f"{recipe['learning_rate']:.3g} and down by a cosine, EMA {recipe['ema_decay']:.4g}"
    )


def _loss(recipe: Mapping[str, Any]) -> str:
    # Older weights do not name terms that were added later.
    luma, share = recipe.get("luma_weight", 0.0), recipe.get("latent_share", 1.0)
    return (
        f"{recipe['hr_weight']:g} · {recipe['distance']} of HR"
        + (f" + {luma:g} · {recipe['distance']} of its luma" if luma else "")
        + f" + {recipe['lr_weight']:g} · squared error of LR against bicubic + {recipe['latent_weight']:g} · z²"
        + (f" of {share:.3g} of the patches" if share < 1 else "")
        + (f"; latents are drawn there, with deviation {recipe['latent_std']:g}" if recipe["latent_std"] else "")
    )


def _number(means: Mapping[str, float | None], name: str, digits: int) -> str:
    """Format a mean; a missing or infinite one (null in JSON) is a dash."""
    value = means.get(name)
    return "–" if value is None else f"{value:.{digits}f}"


def _table(name: str, metrics: Metrics, published: Mapping[str, str]) -> list[str]:
    presets = [preset for preset in _PRESETS if any(preset in means for means in metrics.values())]
    head = ["PSNR-Y (dB) / SSIM-Y", *(f"`{p}`" for p in presets), "LR PSNR-Y: " + " / ".join(f"`{p}`" for p in presets)]
    rows = []
    for place, means in metrics.items():
        of = {preset: means.get(preset, {}) for preset in presets}
        shown = [
            f"{_number(of[p], 'psnr_y', 2)} / {_number(of[p], 'ssim_y', 4)}" if of[p] else "not measured"
            for p in presets
        ]
        fidelity = " / ".join(_number(of[p], "lr_psnr", 1) for p in presets)
        rows.append([place, *shown, fidelity, *([published.get(place, "–")] if published else [])])
    if published:
        head.append("published network, plain")
    return [
        f"Measured with `hcd evaluate DIR --model {name} --presets {','.join(presets)}`, on the decoded 8-bit LR",
        "file. LR PSNR is against the rounded bicubic LR, on luma."
        + (" Published: Xiao et al., ECCV 2020, 500 000 steps on DIV2K." if published else ""),
        "",
        f"| {' | '.join(head)} |",
        f"| {' | '.join('---' for _ in head)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
