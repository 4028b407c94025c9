"""Draw the frontier of gain and cost: a panel per model, a point per method."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from statistics import fmean

from hcd.errors import MissingDependencyError, UsageError
from hcd_lab.bench.result import BenchResult
from hcd_lab.bench.solver import BASELINE, means

# Distinct without color too.
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vPX*"
_FORMATS = ("png", "svg", "pdf")


def draw_frontier(result: BenchResult, kind: str) -> bytes:
    """Draw gains over plain against seconds relative to those of the published scheme.

    Points show PSNR-Y of the decoded 8-bit files, filled for presets and open for rules. The curve of each rule shows
    its descent: PSNR over RGB, before rounding.

    Args:
        result: from :func:`hcd_lab.bench.bench_solver`.
        kind: file format, from :func:`figure_kind`.

    Raises:
        UsageError: the result lacks the published scheme.
    """
    from matplotlib.figure import Figure

    models, methods = result.values("model"), result.values("method")
    found = {(mean["model"], mean["method"]): mean for mean in means(result)}
    if not models or any((model, BASELINE) not in found for model in models):
        raise UsageError(f"a frontier needs '{BASELINE}' among the presets, which the others are compared with")
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(models) :]:
        axes.set_visible(False)
    for axes, model in zip(panels, models, strict=False):
        unit = found[model, BASELINE]["seconds"]
        for index, rule in enumerate(_longest(methods)):
            points = _mean_curve(result, model, rule)
            if points:
                axes.plot(
                    [seconds / unit for seconds, _ in points],
                    [gain for _, gain in points],
                    linestyle=_DASHES[index % len(_DASHES)],
                    linewidth=1.0,
                    label=f"{rule.partition('@')[0]} in its loop",
                )
        for index, name in enumerate(methods):
            mean = found.get((model, name))
            if mean is not None and mean["evaluations"]:
                axes.plot(
                    mean["seconds"] / unit,
                    mean["gain"],
                    _MARKERS[index % len(_MARKERS)],
                    color="black",
                    markerfacecolor="none" if "@" in name else "black",
                    label=name,
                    markersize=6,
                )
        axes.axhline(found[model, BASELINE]["gain"], color="gray", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xlabel("seconds / seconds of the published scheme")
        axes.set_ylabel("gain over plain (dB)")
        axes.set_title(f"{model}, {len(result.select(model=model, method=BASELINE))} pictures", fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    data = io.BytesIO()
    figure.savefig(data, format=kind, dpi=130)
    return data.getvalue()


def _longest(methods: list[str]) -> list[str]:
    """Return the method with the most evaluations of each rule."""
    longest: dict[str, str] = {}
    for name in methods:
        rule, at, count = name.partition("@")
        if at and int(count) > int(longest.get(rule, "@0").partition("@")[2]):
            longest[rule] = name
    return list(longest.values())


def _mean_curve(result: BenchResult, model: str, method: str) -> list[tuple[float, float]]:
    """Return mean seconds and mean gain after each gradient evaluation that all pictures reached."""
    curves = [row["curve"] for row in result.select(model=model, method=method) if row["curve"]]
    length = min((len(curve) for curve in curves), default=0)
    return [(fmean(curve[k][1] for curve in curves), fmean(curve[k][2] for curve in curves)) for k in range(length)]


def figure_kind(path: Path) -> str:
    """Return the format of a figure's file: ``png``, ``svg`` or ``pdf``. Call it before the work.

    Raises:
        UsageError: another format.
        MissingDependencyError: matplotlib is not installed.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise UsageError(f"{path}: a figure is .png, .svg or .pdf")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(f"{path}: drawing needs matplotlib; pip install 'hcd[plots]'")
    return kind
