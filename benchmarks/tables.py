"""Make the tables of docs/benchmarks.md and of the README from measured metrics.

    python benchmarks/tables.py                                       # update the tables
    python benchmarks/tables.py --add Set5 irn-x4.Set5.json           # first add the metrics of `hcd evaluate --json`

Metrics come from the shipped weights (``<model>.figures.json`` beside them, written by ``hcd card``) and from
``measured.json`` beside this file, which takes precedence. All presets but ``paper`` minimize half the squared error
over RGB and half that on luma. Metrics that were measured under another loss are left out.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from hcd.errors import UsageError, unknown_name
from hcd.zoo import model_entries

Means = dict[str, float]
Metrics = dict[str, dict[str, dict[str, Means]]]

ROOT = Path(__file__).parents[1]
MEASURED = Path(__file__).with_name("measured.json")
PRESETS = ("plain", "paper", "fast", "balanced")
SETS = ("Set5", "Set14", "BSD100")

# The metrics that ship with the model were measured with the squared error over RGB alone.
OTHER_LOSS = {"irn-x8": ("fast", "balanced", "best")}

# Published by the authors of the networks, without the method: PSNR-Y / SSIM-Y.
# IRN: Xiao et al., ECCV 2020. HCFlow: Liang et al., ICCV 2021.
PUBLISHED = {
    "irn-x4": {"Set5": "36.19 / 0.9451", "Set14": "32.67 / 0.9015", "BSD100": "31.64 / 0.8826"},
    "irn-x2": {"Set5": "43.99 / 0.9871", "Set14": "40.79 / 0.9778", "BSD100": "41.32 / 0.9876"},
    "hcflow-x4": {"Set5": "36.29", "Set14": "33.02"},
}

# Rows of the README: a model appears once it has metrics of `plain` and `balanced` on Set5.
HEADLINE = {
    "light-x4": "×4, for laptops",
    "irn-x4": "×4, the published depth",
    "hcflow-x4": "×4, a conditional flow",
    "light-x2": "×2, for laptops",
    "irn-x2": "×2, the published depth",
}


def metrics() -> Metrics:
    """Return the means by model, data set and preset."""
    found: Metrics = {}
    for entry in model_entries():
        dropped = OTHER_LOSS.get(entry.name, ())
        for place, means in entry.metrics.items():
            kept = {preset: mean for preset, mean in means.items() if preset not in dropped}
            found.setdefault(entry.name, {})[place] = kept
    for model, places in json.loads(MEASURED.read_text("utf-8")).items():
        for place, means in places.items():
            found.setdefault(model, {}).setdefault(place, {}).update(means)
    return found


def cell(means: Means | None) -> str:
    """Format PSNR-Y / SSIM-Y; a dash if not measured."""
    return "–" if means is None else f"{means['psnr_y']:.2f} / {means['ssim_y']:.4f}"


def fidelity(presets: dict[str, Means]) -> str:
    """Format the PSNR-Y of the LR picture against the rounded bicubic LR, for ``plain`` and ``balanced``."""
    cells = []
    for preset in ("plain", "balanced"):
        value = presets.get(preset, {}).get("lr_psnr", -1.0)
        cells.append("equal" if value is None else "–" if value < 0 else f"{value:.1f}")
    return " / ".join(cells)


def table(models: list[str], found: Metrics, *, published: bool = True) -> str:
    """Make a table with a row for each model and data set."""
    heads = ["model, set", *(f"`{preset}`" for preset in PRESETS), "LR: `plain` / `balanced`"]
    if published:
        heads.append("published network, plain")
    lines = [heads, ["---"] * len(heads)]
    for model in models:
        for place in (place for place in SETS if place in found.get(model, {})):
            presets = found[model][place]
            row = [f"`{model}`, {place}", *(cell(presets.get(preset)) for preset in PRESETS), fidelity(presets)]
            if published:
                row.append(PUBLISHED.get(model.removesuffix("-small"), {}).get(place, "–"))
            lines.append(row)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def headline(found: Metrics) -> str:
    """Make the table of the README: PSNR-Y on Set5."""
    heads = ["model", "", *(f"`{preset}`" for preset in PRESETS)]
    lines = [heads, ["---"] * len(heads)]
    for model, what in HEADLINE.items():
        presets = found.get(model, {}).get("Set5", {})
        if {"plain", "balanced"} <= presets.keys():
            values = [f"{presets[preset]['psnr_y']:.2f}" if preset in presets else "–" for preset in PRESETS]
            values[-1] = f"**{values[-1]}**"
            lines.append([f"`{model}`", what, *values])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables() -> dict[str, str]:
    """Return every table by the mark of its place."""
    found = metrics()
    scales = {entry.name: entry.scale for entry in model_entries()}
    fixed = [name for name in scales if name.startswith("bicubic-")]
    trained = [name for name in scales if name in found and name not in fixed]
    made = {f"x{scale}": [name for name in trained if scales[name] == scale] for scale in (2, 4, 8)}
    return {
        "headline": headline(found),
        **{mark: table(models, found, published=mark != "x8") for mark, models in made.items()},
        "fixed": table([name for name in fixed if name in found], found, published=False),
    }


def with_tables(page: str, made: dict[str, str]) -> str:
    """Replace every table between its marks in a page.

    Raises:
        UsageError: the page marks an unknown table.
    """

    def replace(mark: re.Match[str]) -> str:
        if mark[1] not in made:
            raise UsageError(unknown_name("table", mark[1], made))
        return f"<!-- table: {mark[1]} -->\n\n{made[mark[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- table: ([\w-]+) -->\n.*?<!-- end -->", replace, page, flags=re.DOTALL)


def add(place: str, file: Path) -> None:
    """Add the means of an ``hcd evaluate --json`` file to ``measured.json``."""
    report = json.loads(file.read_text("utf-8"))
    found = json.loads(MEASURED.read_text("utf-8"))
    found.setdefault(report["model"], {}).setdefault(place, {}).update(report["mean"])
    MEASURED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", nargs=2, action="append", default=[], metavar=("SET", "FILE"))
    for place, file in parser.parse_args().add:
        add(place, Path(file))
    made = tables()
    for page in (ROOT / "README.md", ROOT / "docs" / "benchmarks.md"):
        page.write_text(with_tables(page.read_text("utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()
