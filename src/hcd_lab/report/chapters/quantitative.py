"""The main table: every set, model and preset, beside what was published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import final

from hcd.rescaler import BicubicRescaler, Rescaler
from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.blocks import Block, Cell, Pair, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.jobs import Job, Solve
from hcd_lab.report.published import GAINS, HCD, PLAIN, network
from hcd_lab.report.results import MEAN, Label, Number, ResultTable
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
_UNITS = {"psnr_y": "dB", "ssim_y": "", "psnr_rgb": "dB", "lr_psnr": "dB", "lr_bytes": "bytes", "grad_evals": ""}
"""Metrics of each picture → unit."""


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
                rows.extend(_published(table, dataset, model))
        return [
            Paragraph(
                parts=[
                    "Means over pictures, measured on the decoded 8-bit LR file. Pictures are cropped to a multiple of "
                    "the scale, and a border of scale pixels is left out. A picture that fails under one preset is "
                    "left out of all rows. Intervals are Student's, of the differences picture by picture. LR PSNR-Y "
                    "compares the LR picture with the rounded bicubic one. Published metrics are of networks with "
                    "other weights, on the same sets."
                ]
            ),
            Table(caption="Quantitative comparison", head=_HEAD, rows=rows, strong=frozenset(strong)),
        ]


def _with_bicubic(models: Sequence[Rescaler]) -> list[Rescaler]:
    """Return the models; those of each scale follow bicubic interpolation in both directions."""
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
    return [session.solve(image, model, preset) for image in session.images_of(dataset)]


def _measured(session: Session, dataset: str, model: Rescaler) -> tuple[list[BenchmarkImage], dict[str, list[Outcome]]]:
    """Return the images that were measured under every preset, and the outcomes of each preset."""
    images: list[BenchmarkImage] = []
    found: dict[str, list[Outcome]] = {preset: [] for preset in _presets(session, model, dataset)}
    for image in session.images_of(dataset):
        outcomes = session.outcomes([session.solve(image, model, preset) for preset in found])
        if outcomes is None:
            continue
        images.append(image)
        for kept, outcome in zip(found.values(), outcomes, strict=True):
            # Without the LR files, which are large for a whole set.
            kept.append({metric: outcome[metric] for metric in _UNITS})
    return images, found if images else {}


def _rows(session: Session, table: ResultTable, dataset: str, model: Rescaler) -> Iterator[Sequence[Cell]]:
    images, found = _measured(session, dataset, model)
    for preset, outcomes in found.items():
        label = Label(chapter=Quantitative.slug, model=model.name, dataset=dataset, variant=preset)
        for image, outcome in zip(images, outcomes, strict=True):
            for metric, unit in _UNITS.items():
                table.add(label.with_(picture=image.name), metric, outcome[metric], unit)
        mean = {
            metric: table.add_mean(label, metric, [outcome[metric] for outcome in outcomes], _UNITS[metric])
            for metric in ("psnr_y", "ssim_y", "psnr_rgb", "lr_psnr")
        }
        over_plain, over_paper, smallest, share = _compared(table, label, preset, found)
        yield (
            f"{dataset}, {model.name}",
            preset,
            table.add(label.with_(picture="all"), "pictures", len(outcomes)).shown(".0f"),
            mean["psnr_y"].shown(),
            over_plain,
            over_paper,
            smallest,
            mean["ssim_y"].shown(".4f"),
            mean["psnr_rgb"].shown(),
            mean["lr_psnr"].shown(),
            share,
        )


def _compared(
    table: ResultTable, label: Label, preset: str, found: Mapping[str, Sequence[Outcome]]
) -> tuple[Cell, Cell, Cell, Cell]:
    """Return the gains over plain and over paper, the smallest gain, and the share of bytes."""
    if preset == "plain" or "plain" not in found:
        return "", "", "", ""
    outcomes, plain = found[preset], found["plain"]

    def gain(other: str) -> Cell:
        differences = [a["psnr_y"] - b["psnr_y"] for a, b in zip(outcomes, found[other], strict=True)]
        value, half = table.add_interval(label, f"gain_over_{other}", differences, "dB")
        return Pair(first=value.shown("+.2f"), second=half.shown())

    least = min(a["psnr_y"] - b["psnr_y"] for a, b in zip(outcomes, plain, strict=True))
    shares = [a["lr_bytes"] / b["lr_bytes"] for a, b in zip(outcomes, plain, strict=True)]
    return (
        gain("plain"),
        gain("paper") if preset != "paper" and "paper" in found else "",
        table.add(label.with_(picture="smallest"), "gain_over_plain", least, "dB").shown("+.2f"),
        table.add_mean(label, "lr_bytes_of_plain", shares).shown(".3f"),
    )


def _published(table: ResultTable, dataset: str, model: Rescaler) -> Iterator[Sequence[Cell]]:
    name = network(model.name)
    label = Label(chapter=Quantitative.slug, model=name, picture=MEAN)
    plain = PLAIN.get((name, dataset))
    if plain is not None:
        of_set = label.with_(dataset=dataset, variant=f"published, plain: {plain.source}")
        psnr_y = table.add(of_set, "psnr_y", plain.psnr_y, "dB").shown()
        ssim_y = table.add(of_set, "ssim_y", plain.ssim_y).shown(".4f")
        yield _row(f"{dataset}, {name}", "published, plain", psnr_y=psnr_y, ssim_y=ssim_y)
    if name in GAINS:
        low, high = (
            table.add(
                label.with_(dataset=f"{which} of all sets", variant=f"published, paper: {HCD}"),
                "gain_over_plain",
                value,
                "dB",
            ).shown("+.2f")
            for which, value in zip(("smallest", "largest"), GAINS[name], strict=True)
        )
        gain = Pair(first=low, second=high, between=" to ")
        yield _row(f"{name}, all its sets", "published, paper", gain=gain)


def _row(
    name: str, preset: str, *, psnr_y: Number | str = "", gain: Pair | str = "", ssim_y: Number | str = ""
) -> Sequence[Cell]:
    return (name, preset, "", psnr_y, gain, "", "", ssim_y, "", "", "")
