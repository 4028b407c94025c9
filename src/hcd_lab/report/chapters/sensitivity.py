"""What the ball, the step and the rounding do: gain against fidelity of the LR picture, published settings varied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, final

from hcd.collab import get_settings
from hcd.rescaler import Rescaler
from hcd.solver import NormalizedGradient
from hcd_lab.report.blocks import Block, Cell, Figure, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.gains import ABSENT, PLAIN, Trial, all_jobs, trial
from hcd_lab.report.chapters.panels import legend_below
from hcd_lab.report.config import ReportConfig
from hcd_lab.report.jobs import Job
from hcd_lab.report.plots import draw, line
from hcd_lab.report.result_table import Entry, ResultTable
from hcd_lab.report.session import Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NORMS = {"l1": "l1, mean magnitude", "l2": "l2, root mean square", "linf": "linf, largest"}

_Points = Mapping[tuple[str, str, float], tuple[Entry, Entry]]
"""Model, norm and ε → gain and fidelity."""


@final
class Sensitivity(Chapter):
    slug = "sensitivity"
    title = "Balls, steps and rounding"

    def jobs(self, session: Session) -> Sequence[Job]:
        config = session.config
        tried = [*_balls(config).values(), *_published(config).values(), *_presets(config).values()]
        return all_jobs(session, tried)

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        return [
            *_balls_blocks(session, table),
            *_published_blocks(session, table),
            *_rounding_blocks(session, table),
        ]


# Gain against fidelity.


def _balls(config: ReportConfig) -> dict[tuple[str, float], Trial]:
    """Norm and ε → balanced in that ball alone: its bound on the LR picture's PSNR is off."""
    return {
        (norm, epsilon): trial("balanced", norm=norm, over="picture", epsilon_lr=epsilon, min_lr_psnr=-math.inf)
        for norm in config.study.norms
        for epsilon in config.study.epsilons
    }


def _balls_blocks(session: Session, table: ResultTable) -> Iterator[Block]:
    points: dict[tuple[str, str, float], tuple[Entry, Entry]] = {}
    rows: list[Sequence[Cell]] = []
    strong: set[int] = set()
    for model in session.models:
        for (norm, epsilon), tried in _balls(session.config).items():
            if epsilon == session.config.study.epsilons[0]:
                strong.add(len(rows))
            found = tried.findings(session, table, Sensitivity.slug, model)
            if found is None:
                rows.append((f"{model.name}, {norm}", f"{epsilon:g}", *[ABSENT] * 4))
                continue
            gain, fidelity = points[model.name, norm, epsilon] = found.gain(), found.fidelity()
            rows.append(
                (
                    f"{model.name}, {norm}",
                    f"{epsilon:g}",
                    gain.shown("+.2f"),
                    fidelity.shown(),
                    found.mean("max_change", "gray levels").shown(".1f"),
                    found.share_of_bytes().shown(".3f"),
                )
            )
    yield Paragraph(
        parts=[
            "What the LR picture gives up for its gain: balanced in balls of several radii ε around the plain LR "
            "picture, and nothing else that bounds it. The norm is a mean over the picture, in gray levels: l1 bounds "
            "the mean magnitude of the changes, l2 their root mean square, linf the largest. The LR picture is "
            "compared with the plain one, over RGB; the smaller that PSNR, the further it has moved, and pictures "
            "that stayed the plain one are left out of its mean. A change of the file may exceed ε by the rounding to "
            "whole gray levels. Gains are of PSNR-Y over plain, means over the "
            f"{len(session.study)} study pictures."
        ]
    )
    yield _figure(session, points)
    yield Table(
        caption="Radius of the ball, gain and fidelity",
        head=(
            "model, norm",
            "ε (gray levels)",
            "gain (PSNR-Y, dB)",
            "LR PSNR against plain (dB)",
            "largest change (gray levels)",
            "LR bytes / plain",
        ),
        rows=rows,
        strong=frozenset(strong),
    )


def _figure(session: Session, points: _Points) -> Figure:
    study = session.config.study

    def panel(model: str, *, over_epsilon: bool) -> Callable[[Axes], None]:
        def to(axes: Axes) -> None:
            for index, norm in enumerate(study.norms):
                # An LR picture that stays the plain one has an infinite PSNR, which has no place on an axis.
                found = [
                    (epsilon if over_epsilon else points[model, norm, epsilon][1].value, gain.value)
                    for epsilon in sorted(study.epsilons)
                    if (model, norm, epsilon) in points
                    for gain in points[model, norm, epsilon][:1]
                    if over_epsilon or math.isfinite(points[model, norm, epsilon][1].value)
                ]
                line(axes, [x for x, _ in found], [y for _, y in found], index, _NORMS[norm])
            axes.set(title=model, ylabel="gain over plain (PSNR-Y, dB)")
            if over_epsilon:
                axes.set_xscale("log", base=2)
                axes.set_xticks(study.epsilons, [f"{epsilon:g}" for epsilon in study.epsilons])
                axes.set_xlabel("ε (gray levels)")
            else:
                axes.set_xlabel("PSNR of the LR picture against the plain one (RGB, dB)")
            legend_below(axes, columns=3)

        return to

    panels = [
        panel(model.name, over_epsilon=over_epsilon) for model in session.models for over_epsilon in (False, True)
    ]
    return draw(
        "sensitivity",
        panels,
        alt="Gain over plain against the fidelity of the LR picture (left) and against the radius of the ball (right), "
        "a line for every norm. Along a line, ε grows from right to left (left), and from left to right (right).",
    )


# Settings of the published scheme.


def _published(config: ReportConfig) -> dict[tuple[str, float], Trial]:
    """What is varied and its value → the published scheme with it, all else as published."""
    balls = {
        ("ε", epsilon): trial("paper", epsilon_hr=epsilon, epsilon_lr=epsilon)
        for epsilon in config.study.published_epsilons
    }
    steps = {
        ("step size", size): trial(
            "paper", variant=f"paper step_size={size:g}/255", rule=NormalizedGradient(step_size=size / 255)
        )
        for size in config.study.step_sizes
    }
    return {**balls, **steps}


def _published_blocks(session: Session, table: ResultTable) -> Iterator[Block]:
    rows: list[Sequence[Cell]] = []
    strong: set[int] = set()
    for model in session.models:
        last = ""
        for (varied, value), tried in _published(session.config).items():
            if varied != last:
                strong.add(len(rows))
            last = varied
            found = tried.findings(session, table, Sensitivity.slug, model)
            name = (f"{model.name}, {varied}", f"{value:g}" if varied == "ε" else f"{value:g}/255")
            if found is None:
                rows.append((*name, ABSENT, ABSENT))
            else:
                rows.append((*name, found.gain().shown("+.2f"), found.fidelity().shown()))
    published = get_settings("paper")
    rule = published.rule
    step = f"{rule.step_size * 255:g}/255 long" if isinstance(rule, NormalizedGradient) else "its rule's"
    yield Paragraph(
        parts=[
            "The published scheme with another ball or another step size, all else as published. Both are Euclidean "
            "lengths over the whole tensor, in units of [0, 1], so that what they mean depends on the size of the "
            f"picture; as published, ε is {published.epsilon_lr:g} and a step is {step}. Without a check against "
            "the plain LR picture, gains can be negative."
        ]
    )
    yield Table(
        caption="The published scheme with other settings",
        head=("model, what is varied", "value", "gain (PSNR-Y, dB)", "LR PSNR against plain (dB)"),
        rows=rows,
        strong=frozenset(strong),
    )


# Rounding and the size of the file.


def _presets(config: ReportConfig) -> dict[str, Trial]:
    return {preset: PLAIN if preset == "plain" else trial(preset) for preset in config.presets}


def _rounding_blocks(session: Session, table: ResultTable) -> Iterator[Block]:
    rows: list[Sequence[Cell]] = []
    strong: set[int] = set()
    for model in session.models:
        strong.add(len(rows))
        for preset, tried in _presets(session.config).items():
            rows.append((f"{model.name}, {preset}", *_rounding_cells(session, table, model, tried)))
    yield Paragraph(
        parts=[
            "What is lost between the last sample and the file: the PSNR-Y of what the unrounded LR sample restores, "
            "as floating point numbers, less that of what the 8-bit file restores in 8 bits. Next to it, the size of "
            "the LR file (PNG), metadata included."
        ]
    )
    yield Table(
        caption="Rounding loss and size of the LR file",
        head=(
            "model, preset",
            "gain (PSNR-Y, dB)",
            "rounding loss (PSNR-Y, dB)",
            "LR file (bytes)",
            "LR bytes / plain",
        ),
        rows=rows,
        strong=frozenset(strong),
    )


def _rounding_cells(session: Session, table: ResultTable, model: Rescaler, tried: Trial) -> Iterator[Cell]:
    found = tried.findings(session, table, Sensitivity.slug, model)
    if found is None:
        yield from [ABSENT] * 4
        return
    # Without stages there is no sample, and nothing to compare.
    is_plain = tried is PLAIN
    yield "" if is_plain else found.gain().shown("+.2f")
    yield "" if is_plain else found.rounding_loss().shown("+.3f")
    yield found.mean("lr_bytes", "bytes").shown(",.0f")
    yield "" if is_plain else found.share_of_bytes().shown(".3f")
