"""How many evaluations of which stage: a grid of both, for the published scheme and this package's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, final

from hcd.rescaler import Rescaler
from hcd_lab.report.blocks import Block, Cell, Figure, Pair, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.gains import ABSENT, Trial, all_jobs, trial
from hcd_lab.report.chapters.panels import legend_below
from hcd_lab.report.config import ReportConfig
from hcd_lab.report.jobs import Job
from hcd_lab.report.plots import draw, line
from hcd_lab.report.result_table import Entry, Number, ResultTable
from hcd_lab.report.session import Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCHEMES = ("paper", "balanced")

_Cells = Mapping[tuple[int, int], tuple[Entry, Entry]]
"""HR and LR evaluations → gain and seconds."""


@final
class Schemes(Chapter):
    slug = "schemes"
    title = "How many evaluations of which stage"
    counterpart = "table 2"

    def jobs(self, session: Session) -> Sequence[Job]:
        trials = [scheme_trial(scheme, *steps) for scheme in _SCHEMES for steps in _grid(session.config)]
        return all_jobs(session, trials)

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
                    "Every number of evaluations of the HR stage with every number of the LR stage, in the published "
                    "scheme (paper) and with the rule and the bounds of balanced. Gains are of PSNR-Y over the plain "
                    "network, measured on the 8-bit LR file, and seconds are those of downscaling; both are means over "
                    f"the {len(session.study)} study pictures. Without evaluations of either stage, the LR picture "
                    "is the plain one. An evaluation of the HR stage goes through the network twice, one of the LR "
                    "stage once. The published ball and step are Euclidean lengths over the whole tensor: on small "
                    "parts as these they move each pixel further than on the whole pictures of the main table, and "
                    "the last iterate, which the published scheme keeps, can be worse than the plain LR picture."
                ]
            ),
            *(_table(counts, model, scheme, cells) for (model, scheme), cells in found.items()),
            Paragraph(parts=_largest_gains(found)),
            _figure(counts, found),
        ]


def scheme_trial(scheme: str, steps_hr: int, steps_lr: int) -> Trial:
    """A preset with so many evaluations of each stage."""
    if steps_hr == steps_lr == 0:
        return trial("plain", f"{scheme} steps_hr=0 steps_lr=0")
    return trial(scheme, steps_hr=steps_hr, steps_lr=steps_lr)


def _grid(config: ReportConfig) -> list[tuple[int, int]]:
    counts = config.study.grid
    return [(steps_hr, steps_lr) for steps_hr in counts for steps_lr in counts]


def _measured(session: Session, table: ResultTable, model: Rescaler, scheme: str) -> _Cells:
    cells: dict[tuple[int, int], tuple[Entry, Entry]] = {}
    for steps in _grid(session.config):
        found = scheme_trial(scheme, *steps).findings(session, table, Schemes.slug, model)
        if found is not None:
            cells[steps] = found.gain(), found.seconds()
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
    return [*parts, "."] if len(parts) > 1 else ["Nothing of the grid could be measured."]


def _figure(counts: Sequence[int], found: Mapping[tuple[str, str], _Cells]) -> Figure:
    def panel(model: str, scheme: str) -> Callable[[Axes], None]:
        def to(axes: Axes) -> None:
            cells = found[model, scheme]
            for index, steps_hr in enumerate(counts):
                reached = [(lr, cells[steps_hr, lr][0].value) for lr in counts if (steps_hr, lr) in cells]
                line(axes, [lr for lr, _ in reached], [gain for _, gain in reached], index, f"{steps_hr}")
            axes.set(title=f"{model}, {scheme}", xlabel="LR evaluations", ylabel="gain over plain (PSNR-Y, dB)")
            axes.set_xticks(counts)
            # The schemes of one model are compared by eye.
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
