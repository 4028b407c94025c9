"""The frontier of gain and cost, drawn: a panel per model, a curve per step rule, a point per preset."""

from __future__ import annotations

import io
from pathlib import Path
from statistics import fmean

from hcd.bench.solver import BASELINE, SolverReport
from hcd.errors import OutputError, UsageError

# Told apart without color too.
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vPX*"
_FORMATS = ("png", "svg", "pdf")


def draw_frontier(report: SolverReport, suffix: str) -> bytes:
    """A figure of gains over plain against seconds relative to those of the published scheme.

    Presets are points, at the PSNR-Y of the decoded 8-bit files. Step rules are curves, at the PSNR over RGB that
    their loop sees before rounding: they show how fast a rule descends.

    Args:
        suffix: of the file, ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        UsageError: another suffix, a report without the published scheme, or matplotlib is not installed.
    """
    kind = suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise OutputError(f"figure '{suffix}': use .png, .svg or .pdf")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("drawing needs matplotlib; install it with: pip install 'hcd[plots]'") from error
    models = list(dict.fromkeys(row.model for row in report.rows))
    means = {(mean.model, mean.contestant): mean for mean in report.means()}
    if not models or any((model, BASELINE) not in means for model in models):
        raise UsageError(f"a frontier needs '{BASELINE}' among the presets, which the others are compared with")
    contestants = list(dict.fromkeys(row.contestant for row in report.rows))
    rules = [name for name in contestants if "@" in name]
    presets = [name for name in contestants if "@" not in name]
    figure = Figure(figsize=(4.2 * len(models), 4.0), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        unit = means[model, BASELINE].seconds
        for index, rule in enumerate(rules):
            points = _mean_curve(report, model, rule)
            if points:
                axes.plot(
                    [seconds / unit for seconds, _ in points],
                    [gain for _, gain in points],
                    linestyle=_DASHES[index % len(_DASHES)],
                    linewidth=1.3,
                    label=f"{rule.partition('@')[0]} (before rounding)",
                )
        for index, preset in enumerate(presets):
            if (model, preset) in means and means[model, preset].evaluations:
                mean = means[model, preset]
                axes.plot(
                    mean.seconds / unit, mean.gain, _MARKERS[index % len(_MARKERS)], color="black", label=preset, ms=7
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


def _mean_curve(report: SolverReport, model: str, contestant: str) -> list[tuple[float, float]]:
    """Mean seconds and mean gain after the k-th gradient, as far as all pictures got."""
    curves = [row.curve for row in report.of(model, contestant) if row.curve]
    length = min((len(curve) for curve in curves), default=0)
    return [(fmean(curve[k][1] for curve in curves), fmean(curve[k][2] for curve in curves)) for k in range(length)]


def suffix_of(path: Path) -> str:
    """The suffix of a figure's file, checked before the work.

    Raises:
        OutputError: no format that can be drawn.
    """
    if path.suffix.lower().removeprefix(".") not in _FORMATS:
        raise OutputError(f"{path}: a figure is .png, .svg or .pdf")
    return path.suffix
