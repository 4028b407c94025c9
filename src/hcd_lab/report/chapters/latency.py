"""Time: seconds of downscaling, and the receiver's time, which must not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

from hcd.rescaler import Rescaler
from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.blocks import Block, Cell, Pair, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.jobs import Job, ReceiverTiming, quartiles, ratios
from hcd_lab.report.results import Label, Number, ResultTable
from hcd_lab.report.session import Failed, Session

# Accepted deviation of the receiver's time from that of the plain LR picture.
_TOLERANCE = 0.03


@final
class Latency(Chapter):
    slug = "latency"
    title = "Time"
    counterpart = "the text states that the receiver's cost does not change"

    def jobs(self, session: Session) -> Sequence[Job]:
        jobs: list[Job] = []
        for model in session.models:
            for preset in _presets(session):
                jobs.extend(session.solve(image, model, preset) for image in _images(session, preset))
        for model in session.models:
            for image in session.study:
                timing = _timing(session, model, image)
                jobs.extend((timing.plain, timing.collaborative, timing))
        return jobs

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        receivers, sentences = _receiver_rows(session, table)
        return [
            Table(
                caption="Downscaling: gradient evaluations and seconds by the clock, over all sets. Several pictures "
                "may have been solved at the same time",
                head=(
                    "model",
                    "preset",
                    "pictures",
                    "gradient evaluations",
                    "seconds per picture",
                    "seconds per megapixel",
                    "times plain",
                ),
                rows=list(_downscaling_rows(session, table)),
            ),
            Paragraph(
                parts=[
                    "The receiver runs the same network on either LR picture. Both are upscaled in turn in one "
                    "process, in alternating order; the ratio is collaborative over plain, the median over pairs, with "
                    "their quartiles. CPU time counts all threads, and depends less on other work on the machine."
                ]
            ),
            *sentences,
            Table(
                caption="Upscaling the centers of the study pictures; balanced against plain",
                head=(
                    "model, picture",
                    "pairs",
                    "plain (ms)",
                    "balanced (ms)",
                    "ratio",
                    "quartiles",
                    "ratio of CPU time",
                    "quartiles",
                ),
                rows=receivers,
            ),
        ]


def _presets(session: Session) -> list[str]:
    presets = list(session.config.presets)
    if session.config.best_sets and "best" not in presets and _images(session, "best"):
        presets.append("best")
    return presets


def _images(session: Session, preset: str) -> list[BenchmarkImage]:
    """Return the images that the main table solves under a preset."""
    if preset in session.config.presets:
        return list(session.images)
    return [image for image in session.images if image.dataset in session.config.best_sets]


def _downscaling_rows(session: Session, table: ResultTable) -> Iterator[Sequence[Cell]]:
    for model in session.models:
        plain = 0.0
        for preset in _presets(session):
            images = _images(session, preset)
            found = session.outcomes([session.solve(image, model, preset) for image in images])
            if found is None:
                continue
            label = Label(chapter=Latency.slug, model=model.name, dataset="all", variant=preset)
            seconds = [outcome["seconds"] for outcome in found]
            pace = sum(seconds) / sum(outcome["megapixels"] for outcome in found)
            plain = pace if preset == "plain" else plain
            total = label.with_(picture="all")
            times: Cell = ""
            if plain and preset != "plain":
                times = table.add(total, "seconds_of_plain", pace / plain, of_machine=True).shown(".1f")
            yield (
                model.name,
                preset,
                table.add(total, "pictures", len(found)).shown(".0f"),
                table.add_mean(label, "grad_evals", [outcome["grad_evals"] for outcome in found]).shown(".1f"),
                table.add_mean(label, "seconds", seconds, "s", of_machine=True).shown(),
                table.add(total, "seconds_per_megapixel", pace, "s", of_machine=True).shown(),
                times,
            )


def _timing(session: Session, model: Rescaler, image: BenchmarkImage) -> ReceiverTiming:
    return ReceiverTiming(
        model=model,
        plain=session.solve(image, model, "plain"),
        collaborative=session.solve(image, model, "balanced"),
        find=session.outcome,
    )


def _receiver_rows(session: Session, table: ResultTable) -> tuple[list[Sequence[Cell]], list[Paragraph]]:
    rows: list[Sequence[Cell]] = []
    sentences: list[Paragraph] = []
    for model in session.models:
        pairs: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
        for image in session.study:
            try:
                found = session.outcome(_timing(session, model, image))
            except Failed:
                continue
            label = Label(chapter=Latency.slug, model=model.name, dataset=image.dataset, picture=image.name)
            times = [
                table.add(
                    label.with_(variant=preset),
                    "upscale_median",
                    1000 * quartiles(found[f"{name}_seconds"])[1],
                    "ms",
                    of_machine=True,
                ).shown()
                for preset, name in (("plain", "plain"), ("balanced", "collaborative"))
            ]
            label = label.with_(variant="balanced over plain")
            cells: list[Cell] = []
            for kind, values in pairs.items():
                here = ratios(found, kind)
                values.extend(here)
                cells.extend(_spread(table, label, kind, here)[:2])
            count = table.add(label, "pairs", len(found["plain_seconds"])).shown(".0f")
            rows.append((f"{model.name}, {image.label}", count, *times, *cells))
        if pairs["seconds"]:
            label = Label(chapter=Latency.slug, model=model.name, picture="all", variant="balanced over plain")
            sentences.append(_sentence(table, label, pairs))
    return rows, sentences


def _spread(table: ResultTable, label: Label, kind: str, values: Sequence[float]) -> tuple[Number, Pair, float]:
    """Return the median of ratios, their quartiles, and the median as a float."""
    low, middle, high = (
        table.add(label, f"upscale_{kind}_ratio_{name}", value, of_machine=True)
        for name, value in zip(("lower_quartile", "median", "upper_quartile"), quartiles(values), strict=True)
    )
    return middle.shown(".3f"), Pair(first=low.shown(".3f"), second=high.shown(".3f"), between=" to "), middle.value


def _sentence(table: ResultTable, label: Label, pairs: dict[str, list[float]]) -> Paragraph:
    """Summarize all pairs of a model."""
    ratio, quarters, value = _spread(table, label, "seconds", pairs["seconds"])
    cpu, _, _ = _spread(table, label, "cpu_seconds", pairs["cpu_seconds"])
    verdict = "within" if abs(value - 1) <= _TOLERANCE else "outside"
    return Paragraph(
        parts=[
            f"{label.model}, all pairs: ",
            ratio,
            ", quartiles ",
            quarters.first,
            " to ",
            quarters.second,
            ", by CPU time ",
            cpu,
            f"; the median is {verdict} 1.00 ± {_TOLERANCE:.2f}.",
        ]
    )
