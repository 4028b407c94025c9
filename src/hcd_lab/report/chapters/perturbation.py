"""Where in the LR picture the perturbation lies: on contours and corners, as published, or elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from hcd.rescaler import Rescaler
from hcd_lab.report.blocks import Block, Cell, Gallery, Pair, Paragraph, Picture, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.contours import enrichment, largest, rank_correlation, share_on, structure
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.jobs import Job, lr_of
from hcd_lab.report.result_table import Number, Of, ResultTable
from hcd_lab.report.session import Failed, Session
from hcd_lab.report.snippets import snippet

_PRESETS = ("paper", "balanced")
# Of the pixels: those that count as edges, and as corners.
_SHARE = 0.2
# LR pixels of the part that is shown.
_SIDE = 96


@final
class Perturbation(Chapter):
    slug = "perturbation"
    title = "Where the perturbation lies"
    counterpart = "figure 5, which says that it gathers on contours and corners"

    def jobs(self, session: Session) -> Sequence[Job]:
        return [
            session.solve(subject, model, preset)
            for model in session.models
            for subject in session.subjects
            for preset in ("plain", *_PRESETS)
        ]

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        rows: list[Sequence[Cell]] = []
        strong: set[int] = set()
        for dataset in session.datasets:
            for model in session.models:
                strong.add(len(rows))
                for preset in _PRESETS:
                    found = [place for s in session.of(dataset) if (place := _placed(session, s, model, preset))]
                    if not found:
                        continue
                    rows.append(_row(table, dataset, model, preset, found))
        return [
            Paragraph(
                parts=[
                    "The perturbation is the decoded LR file less the plain one, its energy the squared difference, a "
                    "mean over channels. Edges are the 20 % of the LR pixels with the largest gradient of luma, "
                    "corners the 20 % with the largest smaller eigenvalue of the structure tensor (central "
                    "differences, Gaussian window of σ 1), both of the plain LR picture, so that the perturbation does "
                    "not make its own edges; many pixels are both. A perturbation that does not care where it lies "
                    "would have 20 % of its energy on each, and a factor of 1."
                ]
            ),
            Table(
                caption="Energy of the perturbation on edges and corners, means over pictures; intervals are 95 %",
                head=_HEAD,
                rows=rows,
                strong=frozenset(strong),
            ),
            *_galleries(session, table),
        ]


_HEAD = (
    "set, model",
    "preset",
    "pictures",
    "RMS (gray levels)",
    "energy on edges (%)",
    "over their area (×)",
    "energy on corners (%)",
    "over their area (×)",
    "rank correlation with the gradient",
)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A perturbation, and where it lies.

    Attributes:
        lr: the LR picture with it, ``[1, 3, h, w]``.
        change: the perturbation, of that shape.
        rms: of it, in gray levels.
        edges, corners: shares of its energy on these; NaN for none at all.
        on_edges, on_corners: these over shares of the area.
        correlation: Spearman's, of its energy with the local gradient over pixels.
    """

    subject: BenchmarkImage
    lr: Tensor
    change: Tensor
    rms: float
    edges: float
    corners: float
    on_edges: float
    on_corners: float
    correlation: float


def place(subject: BenchmarkImage, plain: Tensor, lr: Tensor) -> Placed:
    """Where an LR picture differs from the plain one."""
    change = lr - plain
    energy = change.double().square().mean(dim=1)[0]
    gradient, bend = structure(plain)
    edges, corners = largest(gradient, _SHARE), largest(bend, _SHARE)
    return Placed(
        subject=subject,
        lr=lr,
        change=change,
        rms=math.sqrt(float(energy.mean())) * 255,
        edges=share_on(energy, edges),
        corners=share_on(energy, corners),
        on_edges=enrichment(energy, edges),
        on_corners=enrichment(energy, corners),
        correlation=rank_correlation(gradient, energy),
    )


def _placed(session: Session, subject: BenchmarkImage, model: Rescaler, preset: str) -> Placed | None:
    """Of a picture that was solved; None where it was not."""
    try:
        plain, lr = (lr_of(session.outcome(session.solve(subject, model, name))) for name in ("plain", preset))
    except Failed:
        return None
    return place(subject, plain, lr)


def _row(table: ResultTable, dataset: str, model: Rescaler, preset: str, found: Sequence[Placed]) -> Sequence[Cell]:
    of = Of(chapter=Perturbation.slug, model=model.name, dataset=dataset, variant=preset)
    # A picture that stayed plain has no perturbation that could lie anywhere.
    there = [place for place in found if place.rms]
    for place in there:
        here = of.with_(picture=place.subject.name)
        table.add(here, "edge_enrichment", place.on_edges)
        table.add(here, "corner_enrichment", place.on_corners)

    def percent(figure: str, values: Sequence[float]) -> Number:
        return table.add_mean(of, figure, [100 * value for value in values], "%").shown(".0f")

    def factor(figure: str, values: Sequence[float]) -> Pair:
        mean, half = table.add_interval(of, figure, values)
        return Pair(first=mean.shown(), second=half.shown())

    count = table.add(of.with_(picture="all"), "pictures", len(there)).shown(".0f")
    rms = table.add_mean(of, "rms_change", [place.rms for place in there], "gray levels").shown()
    edges = percent("edge_energy", [place.edges for place in there])
    on_edges = factor("edge_enrichment", [place.on_edges for place in there])
    corners = percent("corner_energy", [place.corners for place in there])
    on_corners = factor("corner_enrichment", [place.on_corners for place in there])
    known = [place.correlation for place in there if not math.isnan(place.correlation)]
    correlation = table.add_mean(of, "gradient_rank_correlation", known).shown()
    return (
        f"{dataset}, {model.name}", preset, count, rms, edges, on_edges, corners, on_corners, correlation
    )  # fmt: skip


def _galleries(session: Session, table: ResultTable) -> Iterator[Gallery]:
    for model in session.models:
        pictures: list[Picture] = []
        for part in session.study:
            placed = _placed(session, replace(part, crop=None), model, "balanced")
            if placed is not None:
                pictures.extend(_pictures(placed, model, table))
        if pictures:
            yield Gallery(
                title=f"{model.name}, balanced: LR picture and perturbation, middle part", pictures=pictures, rows=2
            )


def _pictures(placed: Placed, model: Rescaler, table: ResultTable) -> Iterator[Picture]:
    subject = placed.subject
    lr, change = _middle(placed.lr), _middle(placed.change)
    gain = 0.5 / max(float(change.abs().max()), 1 / 255)
    of = Of(
        chapter=Perturbation.slug,
        model=model.name,
        dataset=subject.dataset,
        picture=subject.name,
        variant="balanced",
    )
    amplified = table.add(of, "shown_amplification", gain).shown(".0f")
    yield snippet(lr, f"{subject.label}, middle of the collaborative LR picture", [subject.label])
    alt = f"{subject.label}, perturbation around gray"
    yield snippet(0.5 + gain * change, alt, ["perturbation × ", amplified])


def _middle(picture: Tensor) -> Tensor:
    top, left = (max(0, side - _SIDE) // 2 for side in picture.shape[-2:])
    return picture[..., top : top + _SIDE, left : left + _SIDE]
