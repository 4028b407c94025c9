"""Collaborative against adversarial perturbations: the published scheme descends and ascends in the same ball."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, final

from hcd.rescaler import Rescaler
from hcd_lab.report.blocks import ABSENT, Block, Cell, Figure, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.trials import trial, trial_jobs
from hcd_lab.report.jobs import Job
from hcd_lab.report.plots import COLORS, draw
from hcd_lab.report.published import ADVERSARIAL, COLLABORATIVE, HCD
from hcd_lab.report.results import MEAN, Label, ResultRow, ResultTable
from hcd_lab.report.session import Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIRECTIONS = ("adversarial", "collaborative")
_TRIALS = {direction: trial("paper", uncropped=True, direction=direction) for direction in _DIRECTIONS}
_BARS = {"adversarial": ("///", COLORS[2]), "collaborative": ("...", COLORS[1])}

_Changes = Mapping[str, Mapping[str, ResultRow]]
"""Direction → picture, or the mean → change of PSNR-Y."""


@final
class Direction(Chapter):
    slug = "direction"
    title = "Collaborative against adversarial"
    counterpart = "figure 1"

    def jobs(self, session: Session) -> Sequence[Job]:
        return trial_jobs(session, list(_TRIALS.values()))

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        found = {model.name: _changes(session, table, model) for model in session.models}
        published = _published(table)
        rows: list[Sequence[Cell]] = []
        strong: set[int] = set()
        for model, changes in found.items():
            for picture in [*(image.name for image in session.examples), MEAN]:
                rows.append((f"{model}, {picture}", *(_cell(changes[name], picture) for name in _DIRECTIONS)))
            strong.add(len(rows) - 1)
        strong.add(len(rows))
        rows.append(("published, one example", *(published[direction].shown("+.2f") for direction in _DIRECTIONS)))
        return [
            Paragraph(
                parts=[
                    "The published scheme in both directions: adversarial ascends the reconstruction error, "
                    "collaborative descends it, in the same ball, from the same random start, with the same number of "
                    "gradient evaluations. Changes are of PSNR-Y against the plain LR picture, measured on the 8-bit "
                    f"file. The published pair belongs to one example picture ({HCD}). The radius of the ball is a "
                    "Euclidean length over the whole tensor, so whole pictures are measured: the smaller a picture, "
                    "the larger the change that the ball allows each pixel."
                ]
            ),
            Table(
                caption="Change of PSNR-Y against plain, dB",
                head=("model, picture", *_DIRECTIONS),
                rows=rows,
                strong=frozenset(strong),
            ),
            _figure(found, published),
        ]


def _changes(session: Session, table: ResultTable, model: Rescaler) -> _Changes:
    changes: dict[str, dict[str, ResultRow]] = {}
    for direction, tried in _TRIALS.items():
        changes[direction] = {}
        found = tried.findings(session, table, Direction.slug, model)
        if found is None:
            continue
        for image, gain in zip(session.examples, found.gains(), strict=True):
            label = found.label.with_(picture=image.name)
            changes[direction][image.name] = table.add(label, "gain_over_plain", gain, "dB")
        changes[direction][MEAN] = found.mean_gain()
    return changes


def _published(table: ResultTable) -> Mapping[str, ResultRow]:
    label = Label(chapter=Direction.slug, picture="example of figure 1")
    return {
        direction: table.add(label.with_(variant=f"published, {direction}: {HCD}"), "gain_over_plain", value, "dB")
        for direction, value in zip(_DIRECTIONS, (ADVERSARIAL, COLLABORATIVE), strict=True)
    }


def _cell(changes: Mapping[str, ResultRow], picture: str) -> Cell:
    return changes[picture].shown("+.2f") if picture in changes else ABSENT


def _figure(found: Mapping[str, _Changes], published: Mapping[str, ResultRow]) -> Figure:
    def panel(model: str) -> Callable[[Axes], None]:
        def to(axes: Axes) -> None:
            names = list(dict.fromkeys(name for changes in found[model].values() for name in changes))
            width = 0.38
            for side, direction in zip((-0.5, 0.5), _DIRECTIONS, strict=True):
                hatch, color = _BARS[direction]
                rows = {**found[model][direction], "published": published[direction]}
                places = [index for index, name in enumerate([*names, "published"]) if name in rows]
                axes.bar(
                    [place + side * width for place in places],
                    [rows[name].value for name in [*names, "published"] if name in rows],
                    width,
                    label=direction,
                    hatch=hatch,
                    facecolor="white",
                    edgecolor=color,
                    linewidth=1.2,
                )
            axes.axhline(0, color=COLORS[0], linewidth=0.8)
            # Right of this line are the mean and the published example.
            axes.axvline(len(names) - 1.5, color=COLORS[0], linewidth=0.8, linestyle=":")
            labels = [*names, "published\nexample"]
            axes.set_xticks(range(len(labels)), labels, rotation=0 if len(labels) < 6 else 60, fontsize=8)
            axes.grid(visible=False, axis="x")
            axes.set(title=model, ylabel="change against plain (PSNR-Y, dB)")
            axes.legend(fontsize=8, loc="best")

        return to

    return draw(
        "direction",
        [panel(model) for model in found],
        alt="Change of PSNR-Y in both directions, picture by picture; right of the dotted line the mean over the "
        "pictures, and the published example, which is another picture.",
    )
