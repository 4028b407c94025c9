"""Iteration schemes: a grid of HR and LR evaluations, for the published scheme and for ``balanced``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, final

from hcd.rescaler import Rescaler
from hcd_lab.report.blocks import ABSENT, Block, Cell, Figure, Pair, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.trials import Trial, trial, trial_jobs
from hcd_lab.report.config import ReportConfig
from hcd_lab.report.jobs import Job
from hcd_lab.report.plots import draw, legend_below, line
from hcd_lab.report.results import Number, ResultRow, ResultTable
from hcd_lab.report.session import Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCHEMES = ("paper", "balanced")

_Cells = Mapping[tuple[int, int], tuple[ResultRow, ResultRow]]
"""HR and LR evaluations → gain and seconds."""


@final
class Schemes(Chapter):
    slug = "schemes"
    title = "How many evaluations of which stage"
    counterpart = "table 2"

    def jobs(self, session: Session) -> Sequence[Job]:
        trials = [scheme_trial(scheme, *steps) for scheme in _SCHEMES for steps in _grid(session.config)]
        return trial_jobs(session, trials)

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        found = {
            (model.name, scheme): _measured(session, table, model, scheme)
            for model in session.models
            for scheme in _SCHEMES
        }
        counts = session.config.study.grid
        return [
            Paragraph(
                parts=[
                    "Every number of HR evaluations with every number of LR evaluations, under the published scheme "
                    "(paper) and under the rule and bounds of balanced. Gains are of PSNR-Y over the plain LR picture, "
                    "measured on the 8-bit file; seconds are those of downscaling; both are means over the "
                    f"{len(session.study)} study pictures. An HR evaluation runs the network twice, an LR evaluation "
                    "once. The published ball and step are Euclidean lengths over the whole tensor: on small crops "
                    "they move each pixel further than on the whole pictures of the main table, and the last iterate, "
                    "which the published scheme keeps, can be worse than plain."
                ]
            ),
            *(_table(counts, model, scheme, cells) for (model, scheme), cells in found.items()),
            Paragraph(parts=_largest_gains(found)),
            _figure(counts, found),
        ]


def scheme_trial(scheme: str, steps_hr: int, steps_lr: int) -> Trial:
    """Return the trial of a preset with these evaluations; without any, it is ``plain``."""
    if steps_hr == steps_lr == 0:
        return trial("plain", f"{scheme} steps_hr=0 steps_lr=0")
    return trial(scheme, steps_hr=steps_hr, steps_lr=steps_lr)


def _grid(config: ReportConfig) -> list[tuple[int, int]]:
    counts = config.study.grid
    return [(steps_hr, steps_lr) for steps_hr in counts for steps_lr in counts]


def _measured(session: Session, table: ResultTable, model: Rescaler, scheme: str) -> _Cells:
    cells: dict[tuple[int, int], tuple[ResultRow, ResultRow]] = {}
    for steps in _grid(session.config):
        found = scheme_trial(scheme, *steps).findings(session, table, Schemes.slug, model)
        if found is not None:
            cells[steps] = found.mean_gain(), found.mean_seconds()
    return cells


def _table(counts: Sequence[int], model: str, scheme: str, cells: _Cells) -> Table:
    def cell(steps: tuple[int, int]) -> Cell:
        if steps not in cells:
            return ABSENT
        gain, seconds = cells[steps]
        return Pair(first=gain.shown("+.2f"), second=seconds.shown(), between=" / ")

    return Table(
        caption=f"{model}, {scheme}: gain over plain (PSNR-Y, dB) / seconds per picture",
        head=("evaluations", *(f"{steps_lr} LR" for steps_lr in counts)),
        rows=[(f"{steps_hr} HR", *(cell((steps_hr, steps_lr)) for steps_lr in counts)) for steps_hr in counts],
    )


def _largest_gains(found: Mapping[tuple[str, str], _Cells]) -> list[str | Number]:
    parts: list[str | Number] = ["Largest gains of the grid: "]
    for (model, scheme), cells in found.items():
        if not cells:
            continue
        (steps_hr, steps_lr), (gain, seconds) = max(cells.items(), key=lambda item: item[1][0].value)
        if len(parts) > 1:
            parts.append("; ")
        parts += [f"{model}, {scheme}: ", gain.shown("+.2f")]
        parts += [f" dB with {steps_hr} HR and {steps_lr} LR evaluations, in ", seconds.shown(), " s"]
    return [*parts, "."] if len(parts) > 1 else ["No cell of the grid could be measured."]


def _figure(counts: Sequence[int], found: Mapping[tuple[str, str], _Cells]) -> Figure:
    def panel(model: str, scheme: str) -> Callable[[Axes], None]:
        def to(axes: Axes) -> None:
            cells = found[model, scheme]
            for index, steps_hr in enumerate(counts):
                reached = [(lr, cells[steps_hr, lr][0].value) for lr in counts if (steps_hr, lr) in cells]
                line(axes, [lr for lr, _ in reached], [gain for _, gain in reached], index, f"{steps_hr}")
            axes.set(title=f"{model}, {scheme}", xlabel="LR evaluations", ylabel="gain over plain (PSNR-Y, dB)")
            axes.set_xticks(counts)
            # Both schemes of a model share the scale, so that they can be compared by eye.
            gains = [gain.value for other in _SCHEMES for gain, _ in found[model, other].values()]
            if gains:
                margin = 0.06 * (max(gains) - min(gains)) or 0.1
                axes.set_ylim(min(gains) - margin, max(gains) + margin)
            legend_below(axes, columns=len(counts), title="HR evaluations")

        return to

    return draw(
        "schemes",
        [panel(*which) for which in found],
        alt="Gain over plain against the evaluations of the LR stage, a line for every number of evaluations of the "
        "HR stage. The panels of one model share their vertical scale.",
    )
