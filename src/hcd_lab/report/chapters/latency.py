"""What the method costs: seconds of downscaling, the receiver's time, which must not change, and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import final

from hcd.rescaler import Rescaler
from hcd_lab.report.blocks import Block, Cell, Pair, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.costs import UPSCALE, Footprint, Receiver, quartiles, ratios
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.jobs import Job
from hcd_lab.report.result_table import Number, Of, ResultTable
from hcd_lab.report.session import Failed, Session

# How far the receiver's time may be from that of the plain LR picture.
_TOLERANCE = 0.03
# HR pixels a side of the part that memory is measured on: large against what any process takes.
_PART = 256
_WORKS = ("plain", "balanced", "paper", UPSCALE)
_MIB = 2**20


@final
class Latency(Chapter):
    slug = "latency"
    title = "Time and memory"
    counterpart = "the text says that the receiver's cost stays as it is"

    def jobs(self, session: Session) -> Sequence[Job]:
        jobs: list[Job] = []
        for model in session.models:
            for preset in _presets(session):
                jobs.extend(session.solve(s, model, preset) for s in _subjects(session, preset))
        for model, text in zip(session.models, session.config.models, strict=True):
            for subject in session.study:
                receiver = _receiver(session, model, subject)
                jobs.extend((receiver.plain, receiver.collaborative, receiver))
            jobs.extend(_footprint(session, model, text, work) for work in _WORKS)
        return jobs

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        receivers, sentences = _receiver_rows(session, table)
        return [
            Table(
                caption="Downscaling: gradient evaluations and seconds on the clock, each as it was when the picture "
                "was solved, all sets together",
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
                    "process, the order changing from pair to pair; the ratio is collaborative over plain, the median "
                    "over pairs, with the quartiles of the pairs behind it. CPU time counts all threads together, and "
                    "other work on the machine stretches it less."
                ]
            ),
            *sentences,
            Table(
                caption="Upscaling, on the middle parts of pictures that the studies use; balanced against plain",
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
            Table(
                caption="Peak memory in MiB, each in a fresh process on the CPU, beside what the process holds with "
                f"the model loaded and run once on a small part; one picture, its middle {_PART} × {_PART} pixels "
                "at most",
                head=("model", "picture", "model loaded", "plain", "balanced", "paper", "upscaling"),
                rows=list(_memory_rows(session, table)),
            ),
        ]


def _presets(session: Session) -> list[str]:
    presets = list(session.config.presets)
    if session.config.best_sets and "best" not in presets and _subjects(session, "best"):
        presets.append("best")
    return presets


def _subjects(session: Session, preset: str) -> list[BenchmarkImage]:
    """The pictures that the main table solves with a preset."""
    if preset in session.config.presets:
        return list(session.subjects)
    return [subject for subject in session.subjects if subject.dataset in session.config.best_sets]


def _downscaling_rows(session: Session, table: ResultTable) -> Iterator[Sequence[Cell]]:
    for model in session.models:
        plain = 0.0
        for preset in _presets(session):
            subjects = _subjects(session, preset)
            found = session.outcomes([session.solve(subject, model, preset) for subject in subjects])
            if found is None:
                continue
            of = Of(chapter=Latency.slug, model=model.name, dataset="all", variant=preset)
            seconds = [outcome["seconds"] for outcome in found]
            pace = sum(seconds) / sum(outcome["megapixels"] for outcome in found)
            plain = pace if preset == "plain" else plain
            whole = of.with_(picture="all")
            times: Cell = ""
            if plain and preset != "plain":
                times = table.add(whole, "seconds_of_plain", pace / plain, of_machine=True).shown(".1f")
            yield (
                model.name,
                preset,
                table.add(whole, "pictures", len(found)).shown(".0f"),
                table.add_mean(of, "grad_evals", [outcome["grad_evals"] for outcome in found]).shown(".1f"),
                table.add_mean(of, "seconds", seconds, "s", of_machine=True).shown(),
                table.add(whole, "seconds_per_megapixel", pace, "s", of_machine=True).shown(),
                times,
            )


def _receiver(session: Session, model: Rescaler, subject: BenchmarkImage) -> Receiver:
    return Receiver(
        model=model,
        plain=session.solve(subject, model, "plain"),
        collaborative=session.solve(subject, model, "balanced"),
        find=session.outcome,
    )


def _receiver_rows(session: Session, table: ResultTable) -> tuple[list[Sequence[Cell]], list[Paragraph]]:
    rows: list[Sequence[Cell]] = []
    sentences: list[Paragraph] = []
    for model in session.models:
        pairs: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
        for subject in session.study:
            try:
                found = session.outcome(_receiver(session, model, subject))
            except Failed:
                continue
            of = Of(chapter=Latency.slug, model=model.name, dataset=subject.dataset, picture=subject.name)
            times = [
                table.add(
                    of.with_(variant=preset),
                    "upscale_median",
                    1000 * quartiles(found[f"{name}_seconds"])[1],
                    "ms",
                    of_machine=True,
                ).shown()
                for preset, name in (("plain", "plain"), ("balanced", "collaborative"))
            ]
            of = of.with_(variant="balanced over plain")
            cells: list[Cell] = []
            for kind, values in pairs.items():
                here = ratios(found, kind)
                values.extend(here)
                cells.extend(_spread(table, of, kind, here)[:2])
            count = table.add(of, "pairs", len(found["plain_seconds"])).shown(".0f")
            rows.append((f"{model.name}, {subject.label}", count, *times, *cells))
        if pairs["seconds"]:
            of = Of(chapter=Latency.slug, model=model.name, picture="all", variant="balanced over plain")
            sentences.append(_sentence(table, of, pairs))
    return rows, sentences


def _spread(table: ResultTable, of: Of, kind: str, values: Sequence[float]) -> tuple[Number, Pair, float]:
    """The median of ratios, their quartiles, and the median as a number."""
    low, middle, high = (
        table.add(of, f"upscale_{kind}_ratio_{name}", value, of_machine=True)
        for name, value in zip(("lower_quartile", "median", "upper_quartile"), quartiles(values), strict=True)
    )
    return middle.shown(".3f"), Pair(first=low.shown(".3f"), second=high.shown(".3f"), between=" to "), middle.value


def _sentence(table: ResultTable, of: Of, pairs: dict[str, list[float]]) -> Paragraph:
    """What all pairs of a model say together."""
    ratio, quarters, value = _spread(table, of, "seconds", pairs["seconds"])
    cpu, _, _ = _spread(table, of, "cpu_seconds", pairs["cpu_seconds"])
    verdict = "within" if abs(value - 1) <= _TOLERANCE else "outside"
    return Paragraph(
        parts=[
            f"{of.model}, all pairs: ",
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


def _footprint(session: Session, model: Rescaler, text: str, work: str) -> Footprint:
    return Footprint(model=model, text=text, subject=replace(session.study[0], crop=_PART), work=work)


def _memory_rows(session: Session, table: ResultTable) -> Iterator[Sequence[Cell]]:
    for model, text in zip(session.models, session.config.models, strict=True):
        jobs = [_footprint(session, model, text, work) for work in _WORKS]
        found = session.outcomes(jobs)
        if found is None:
            continue
        subject = jobs[0].subject
        of = Of(chapter=Latency.slug, model=model.name, dataset=subject.dataset, picture=subject.name)
        loaded = table.add_mean(
            of.with_(variant="model loaded"),
            "peak_memory",
            [outcome["loaded_bytes"] / _MIB for outcome in found],
            "MiB",
            of_machine=True,
        )
        yield (
            model.name,
            subject.label,
            loaded.shown(".0f"),
            *(
                table.add(
                    of.with_(variant=work), "peak_memory_beside", outcome["taken_bytes"] / _MIB, "MiB", of_machine=True
                ).shown(".0f")
                for work, outcome in zip(_WORKS, found, strict=True)
            ),
        )
