"""The main table: every set, model and preset, beside what was published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

from hcd.rescaler import BicubicRescaler, Rescaler
from hcd_lab.report.blocks import Block, Cell, Pair, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.jobs import Job, Solve
from hcd_lab.report.published import GAINS, HCD, PLAIN, network
from hcd_lab.report.result_table import Number, Of, ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Outcome

_HEAD = (
    "set, model",
    "preset",
    "pictures",
    "PSNR-Y (dB)",
    "gain over plain (dB, ± 95 %)",
    "gain over paper (dB, ± 95 %)",
    "smallest gain (dB)",
    "SSIM-Y",
    "PSNR-RGB (dB)",
    "LR PSNR-Y (dB)",
    "LR bytes / plain",
)


@final
class Quantitative(Chapter):
    slug = "quantitative"
    title = "Every set, model and preset"
    counterpart = "table 1"

    def jobs(self, session: Session) -> Sequence[Job]:
        return [
            job
            for dataset in session.datasets
            for model in _with_bicubic(session.models)
            for preset in _presets(session, model, dataset)
            for job in _jobs(session, dataset, model, preset)
        ]

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        rows: list[Sequence[Cell]] = []
        strong: set[int] = set()
        for dataset in session.datasets:
            for model in _with_bicubic(session.models):
                strong.add(len(rows))
                rows.extend(_rows(session, table, dataset, model))
        return [
            Paragraph(
                parts=[
                    "Means over pictures, measured on the decoded 8-bit LR file; pictures are cut to a multiple of "
                    "the scale, and a border of scale pixels is left out. One that could not be measured under every "
                    "preset is left out of them all. Intervals are Student's, of the differences picture by picture. "
                    "LR PSNR-Y compares the small picture with the rounded bicubic one: how much it looks like any "
                    "thumbnail. Published figures are of networks with other weights, on the same sets."
                ]
            ),
            Table(caption="Quantitative comparison", head=_HEAD, rows=rows, strong=frozenset(strong)),
        ]


def _with_bicubic(models: Sequence[Rescaler]) -> list[Rescaler]:
    """The models, those of each scale after plain bicubic interpolation both ways."""
    found: list[Rescaler] = []
    for scale in dict.fromkeys(model.scale for model in models):
        of_scale = [model for model in models if model.scale == scale]
        if not any(isinstance(model, BicubicRescaler) for model in of_scale):
            found.append(BicubicRescaler(scale).freeze())
        found.extend(of_scale)
    return found


def _presets(session: Session, model: Rescaler, dataset: str) -> list[str]:
    if isinstance(model, BicubicRescaler) and model.name not in {m.name for m in session.models}:
        return ["plain"]
    presets = list(session.config.presets)
    if dataset in session.config.best_sets and "best" not in presets:
        presets.append("best")
    return presets


def _jobs(session: Session, dataset: str, model: Rescaler, preset: str) -> list[Solve]:
    return [session.solve(subject, model, preset) for subject in session.of(dataset)]


def _measured(session: Session, dataset: str, model: Rescaler) -> tuple[list[BenchmarkImage], dict[str, list[Outcome]]]:
    """The pictures that could be measured under every preset, and what was found: rows compare the same pictures."""
    subjects: list[BenchmarkImage] = []
    found: dict[str, list[Outcome]] = {preset: [] for preset in _presets(session, model, dataset)}
    for subject in session.of(dataset):
        outcomes = session.outcomes([session.solve(subject, model, preset) for preset in found])
        if outcomes is None:
            continue
        subjects.append(subject)
        for kept, outcome in zip(found.values(), outcomes, strict=True):
            # Without the LR files, which of a whole set are large.
            kept.append({figure: outcome[figure] for figure, _ in _FIGURES})
    return subjects, found if subjects else {}


def _rows(session: Session, table: ResultTable, dataset: str, model: Rescaler) -> Iterator[Sequence[Cell]]:
    subjects, found = _measured(session, dataset, model)
    for preset, outcomes in found.items():
        of = Of(chapter=Quantitative.slug, model=model.name, dataset=dataset, variant=preset)
        for subject, outcome in zip(subjects, outcomes, strict=True):
            here = of.with_(picture=subject.name)
            for figure, unit in _FIGURES:
                table.add(here, figure, outcome[figure], unit)

        def mean(figure: str, unit: str, form: str, of: Of = of, outcomes: Sequence[Outcome] = outcomes) -> Number:
            return table.add_mean(of, figure, [outcome[figure] for outcome in outcomes], unit).shown(form)

        gains: list[Cell] = []
        for other in ("plain", "paper"):
            if preset in (other, "plain") or other not in found:
                gains.append("")
                continue
            differences = [a["psnr_y"] - b["psnr_y"] for a, b in zip(outcomes, found[other], strict=True)]
            value, half = table.add_interval(of, f"gain_over_{other}", differences, "dB")
            gains.append(Pair(first=value.shown("+.2f"), second=half.shown()))
        smallest: Cell = ""
        share: Cell = ""
        if preset != "plain" and "plain" in found:
            pairs = list(zip(outcomes, found["plain"], strict=True))
            smallest = table.add(
                of.with_(picture="smallest"), "gain_over_plain", min(a["psnr_y"] - b["psnr_y"] for a, b in pairs), "dB"
            ).shown("+.2f")
            share = table.add_mean(of, "lr_bytes_of_plain", [a["lr_bytes"] / b["lr_bytes"] for a, b in pairs]).shown(
                ".3f"
            )
        yield (
            f"{dataset}, {model.name}",
            preset,
            table.add(of.with_(picture="all"), "pictures", len(outcomes)).shown(".0f"),
            mean("psnr_y", "dB", ".2f"),
            *gains,
            smallest,
            mean("ssim_y", "", ".4f"),
            mean("psnr_rgb", "dB", ".2f"),
            mean("lr_psnr", "dB", ".2f"),
            share,
        )
    yield from _published(table, dataset, model)


_FIGURES = (
    ("psnr_y", "dB"),
    ("ssim_y", ""),
    ("psnr_rgb", "dB"),
    ("lr_psnr", "dB"),
    ("lr_bytes", "bytes"),
    ("grad_evals", ""),
)


def _published(table: ResultTable, dataset: str, model: Rescaler) -> Iterator[Sequence[Cell]]:
    name = network(model.name)
    plain = PLAIN.get((name, dataset))
    if plain is not None:
        of = Of(
            chapter=Quantitative.slug,
            model=name,
            dataset=dataset,
            picture="mean",
            variant=f"published, plain: {plain.source}",
        )
        values = (
            table.add(of, "psnr_y", plain.psnr_y, "dB").shown(),
            table.add(of, "ssim_y", plain.ssim_y).shown(".4f"),
        )
        yield (f"{dataset}, {name}", "published, plain", "", values[0], "", "", "", values[1], "", "", "")
    if name in GAINS:
        of = Of(chapter=Quantitative.slug, model=name, picture="mean", variant=f"published, paper: {HCD}")
        low, high = (
            table.add(of.with_(dataset=f"{which} of all sets"), "gain_over_plain", value, "dB").shown("+.2f")
            for which, value in zip(("smallest", "largest"), GAINS[name], strict=True)
        )
        yield (
            f"{name}, all its sets",
            "published, paper",
            "",
            "",
            Pair(first=low, second=high, between=" to "),
            "",
            "",
            "",
            "",
            "",
            "",
        )
