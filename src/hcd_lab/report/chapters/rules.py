"""Step rules: what each has reached after so many gradient evaluations of the LR stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, final

from hcd.rescaler import Rescaler
from hcd_lab.report.blocks import Block, Cell, Figure, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.gains import ABSENT, Findings, Trial, all_jobs, trial
from hcd_lab.report.chapters.panels import legend_below, panel_size
from hcd_lab.report.config import ReportConfig
from hcd_lab.report.jobs import Job
from hcd_lab.report.plots import draw, line
from hcd_lab.report.result_table import Entry, ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEAR = 0.1
"""dB below the largest gain that count as having reached it."""


@dataclass(frozen=True, kw_only=True)
class _Course:
    """A rule's way: its gain as the loop sees it after every evaluation, mean over pictures; and what came of it."""

    seen: Sequence[Entry]
    found: Findings


@final
class Rules(Chapter):
    slug = "rules"
    title = "Gain against gradient evaluations, for every step rule"

    def jobs(self, session: Session) -> Sequence[Job]:
        return all_jobs(session, list(_trials(session.config).values()))

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        courses = {model.name: _courses(session, table, model) for model in session.models}
        rules = session.config.study.rules
        rows: list[Sequence[Cell]] = []
        strong: set[int] = set()
        for model, of_rules in courses.items():
            strong.add(len(rows))
            rows.extend(_row(table, model, rule, of_rules) for rule in rules)
        return [
            Paragraph(
                parts=[
                    "Every step rule with its settings of this package, in the LR stage of balanced and from the plain "
                    f"LR picture, {session.config.study.rule_evaluations} evaluations. A product with the curvature "
                    "counts like a gradient. What the loop sees is the PSNR over RGB, half of what is minimized, of "
                    "the whole picture before the LR picture is rounded, the best so far; what comes of it is "
                    "measured on the 8-bit LR file. Means "
                    f"over the {len(session.study)} study pictures."
                ]
            ),
            _figure(courses),
            Table(
                caption="Step rules after their last evaluation, and how soon they came near the largest gain of any",
                head=(
                    "model, rule",
                    "gain in the loop (PSNR-RGB, dB)",
                    f"evaluations until {_NEAR} dB below the largest",
                    "gain of the file (PSNR-Y, dB)",
                    "LR PSNR against plain (dB)",
                    "seconds per picture",
                ),
                rows=rows,
                strong=frozenset(strong),
            ),
        ]


def _trials(config: ReportConfig) -> dict[str, Trial]:
    evaluations = config.study.rule_evaluations
    return {rule: trial("balanced", rule=rule, steps_lr=evaluations) for rule in config.study.rules}


def gains_in_loop(outcome: Outcome, evaluations: int) -> list[float]:
    """Best PSNR so far (RGB, dB), as the loop saw it, over that of its first point, after 1, 2, … evaluations.

    The loop begins with the plain LR picture, and counts the whole picture, while the outcome's other figures leave
    a border out: only figures of the loop are comparable with it.
    """
    seen = {step: psnr for _, step, _, psnr, _ in outcome["history"]}
    first = outcome["history"][0][3]
    gains: list[float] = []
    best = first
    for step in range(1, evaluations + 1):
        # Where an evaluation was a product with the curvature, nothing was seen; and NaN is no progress.
        if seen.get(step, best) > best:
            best = seen[step]
        gains.append(best - first)
    return gains


def _courses(session: Session, table: ResultTable, model: Rescaler) -> dict[str, _Course]:
    evaluations = session.config.study.rule_evaluations
    courses: dict[str, _Course] = {}
    for rule, tried in _trials(session.config).items():
        found = tried.findings(session, table, Rules.slug, model)
        if found is None:
            continue
        by_picture = [gains_in_loop(outcome, evaluations) for outcome in found.outcomes]
        seen = [
            table.add(
                found.of.with_(picture="mean", variant=f"{rule}, {step} evaluations"),
                "gain_in_loop",
                fmean(gains),
                "dB",
            )
            for step, gains in enumerate(zip(*by_picture, strict=True), start=1)
        ]
        courses[rule] = _Course(seen=seen, found=found)
    return courses


def _row(table: ResultTable, model: str, rule: str, courses: Mapping[str, _Course]) -> Sequence[Cell]:
    if rule not in courses:
        return (f"{model}, {rule}", *[ABSENT] * 5)
    course = courses[rule]
    goal = max(other.seen[-1].value for other in courses.values()) - _NEAR
    reached = next((step for step, entry in enumerate(course.seen, start=1) if entry.value >= goal), None)
    until: Cell = ABSENT
    if reached is not None:
        until = table.add(course.found.of.with_(picture="mean"), "evaluations_until_near", reached).shown(".0f")
    return (
        f"{model}, {rule}",
        course.seen[-1].shown("+.2f"),
        until,
        course.found.gain().shown("+.2f"),
        course.found.fidelity().shown(),
        course.found.seconds().shown(),
    )


def _figure(courses: Mapping[str, Mapping[str, _Course]]) -> Figure:
    def panel(model: str) -> Callable[[Axes], None]:
        def to(axes: Axes) -> None:
            from matplotlib.ticker import MaxNLocator

            for index, (rule, course) in enumerate(courses[model].items()):
                gains = [entry.value for entry in course.seen]
                line(axes, range(1, len(gains) + 1), gains, index, rule)
            axes.set(
                title=model,
                xlabel="evaluations of the LR stage",
                ylabel="gain in the loop, best so far\n(PSNR-RGB, dB)",
            )
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
            legend_below(axes, columns=4 if len(courses) == 1 else 3)

        return to

    return draw(
        "rules",
        [panel(model) for model in courses],
        alt="Gain over the plain LR picture, as the loop sees it, against evaluations of the LR stage, a line for "
        "every step rule.",
        size=panel_size(len(courses)),
    )
