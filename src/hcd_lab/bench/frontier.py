"""The frontier of gain and cost, drawn: a panel per model, a point per preset or rule."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from statistics import fmean

from hcd.errors import MissingDependencyError, UsageError
from hcd_lab.bench.solver import BASELINE, SolverReport

# Told apart without color too.
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vPX*"
_FORMATS = ("png", "svg", "pdf")


def draw_frontier(report: SolverReport, kind: str) -> bytes:
    """A figure of gains over plain against seconds relative to those of the published scheme.

    Points are at the PSNR-Y of the decoded 8-bit files, filled for presets and open for rules. A curve for every rule
    shows how it descends, at the PSNR over RGB that its loop sees, before rounding.

    Args:
        kind: of the file, from :func:`figure_kind`.

    Raises:
        UsageError: a report without the published scheme.
    """
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(row.model for row in report.rows))
    means = {(mean.model, mean.contestant): mean for mean in report.means()}
    if not models or any((model, BASELINE) not in means for model in models):
        raise UsageError(f"a frontier needs '{BASELINE}' among the presets, which the others are compared with")
    contestants = list(dict.fromkeys(row.contestant for row in report.rows))
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(models) :]:
        axes.set_visible(False)
    for axes, model in zip(panels, models, strict=False):
        unit = means[model, BASELINE].seconds
        for index, rule in enumerate(_longest(contestants)):
            points = _mean_curve(report, model, rule)
            if points:
                axes.plot(
                    [seconds / unit for seconds, _ in points],
                    [gain for _, gain in points],
                    linestyle=_DASHES[index % len(_DASHES)],
                    linewidth=1.0,
                    label=f"{rule.partition('@')[0]} in its loop",
                )
        for index, name in enumerate(contestants):
            if (model, name) in means and means[model, name].evaluations:
                mean = means[model, name]
                axes.plot(
                    mean.seconds / unit,
                    mean.gain,
                    _MARKERS[index % len(_MARKERS)],
                    color="black",
                    markerfacecolor="none" if "@" in name else "black",
                    label=name,
                    markersize=6,
                )
        axes.axhline(means[model, BASELINE].gain, color="gray", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xlabel("seconds / seconds of the published scheme")
        axes.set_ylabel("gain over plain (dB)")
        axes.set_title(f"{model}, {len(report.of(model, BASELINE))} pictures", fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    data = io.BytesIO()
    figure.savefig(data, format=kind, dpi=130)
    return data.getvalue()


def _longest(contestants: list[str]) -> list[str]:
    """Of every rule, the contestant with the most evaluations."""
    longest: dict[str, str] = {}
    for name in contestants:
        rule, at, count = name.partition("@")
        if at and int(count) > int(longest.get(rule, "@0").partition("@")[2]):
            longest[rule] = name
    return list(longest.values())


def _mean_curve(report: SolverReport, model: str, contestant: str) -> list[tuple[float, float]]:
    """Mean seconds and mean gain after the k-th gradient, as far as all pictures got."""
    curves = [row.curve for row in report.of(model, contestant) if row.curve]
    length = min((len(curve) for curve in curves), default=0)
    return [(fmean(curve[k][1] for curve in curves), fmean(curve[k][2] for curve in curves)) for k in range(length)]


def figure_kind(path: Path) -> str:
    """``png``, ``svg`` or ``pdf`` for a figure's file; to be asked before the work.

    Raises:
        UsageError: no format that can be drawn.
        MissingDependencyError: matplotlib is not installed.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise UsageError(f"{path}: a figure is .png, .svg or .pdf")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(f"{path}: drawing needs matplotlib; pip install 'hcd[plots]'")
    return kind
