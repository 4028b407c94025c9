"""Location of the perturbation in the LR image: on contours and corners, as published, or elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from hcd.ops import center_crop
from hcd.rescaler import Rescaler
from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.blocks import Block, Cell, Gallery, InlineImage, Pair, Paragraph, Table, png_block
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.contours import enrichment, largest, rank_correlation, share_on, structure
from hcd_lab.report.jobs import Job, lr_of
from hcd_lab.report.results import Label, Number, ResultTable
from hcd_lab.report.session import Failed, Session

_PRESETS = ("paper", "balanced")
# Share of the pixels that count as edges, and as corners.
_SHARE = 0.2
# LR pixels a side of the crop that is shown.
_SIDE = 96
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


@final
class Perturbation(Chapter):
    slug = "perturbation"
    title = "Where the perturbation lies"
    counterpart = "figure 5, which says that it gathers on contours and corners"

    def jobs(self, session: Session) -> Sequence[Job]:
        return [
            session.solve(image, model, preset)
            for model in session.models
            for image in session.images
            for preset in ("plain", *_PRESETS)
        ]

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        rows: list[Sequence[Cell]] = []
        strong: set[int] = set()
        for dataset in session.datasets:
            for model in session.models:
                strong.add(len(rows))
                for preset in _PRESETS:
                    images = session.images_of(dataset)
                    found = [place for image in images if (place := _placed(session, image, model, preset))]
                    if found:
                        rows.append(_row(table, dataset, model, preset, found))
        return [
            Paragraph(
                parts=[
                    "The perturbation is the decoded LR file minus the plain one; its energy is the squared "
                    "difference, a mean over channels. Edges are the 20 % of the LR pixels with the largest gradient "
                    "of luma, corners the 20 % with the largest smaller eigenvalue of the structure tensor (central "
                    "differences, Gaussian window of σ 1), both of the plain LR picture; many pixels are both. A "
                    "uniform perturbation has 20 % of its energy on each, a factor of 1."
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


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Perturbation of an LR image and its location.

    Attributes:
        lr: collaborative LR image ``[1, 3, h, w]``.
        change: the perturbation, of that shape.
        rms: root mean square of the perturbation, in gray levels.
        edges, corners: shares of its energy on these; NaN without any energy.
        on_edges, on_corners: these shares over those of the area.
        correlation: Spearman's, of its energy with the gradient over pixels.
    """

    image: BenchmarkImage
    lr: Tensor
    change: Tensor
    rms: float
    edges: float
    corners: float
    on_edges: float
    on_corners: float
    correlation: float


def place(image: BenchmarkImage, plain: Tensor, lr: Tensor) -> Placed:
    """Measure where an LR image differs from the plain one."""
    change = lr - plain
    energy = change.double().square().mean(dim=1)[0]
    gradient, bend = structure(plain)
    edges, corners = largest(gradient, _SHARE), largest(bend, _SHARE)
    return Placed(
        image=image,
        lr=lr,
        change=change,
        rms=math.sqrt(float(energy.mean())) * 255,
        edges=share_on(energy, edges),
        corners=share_on(energy, corners),
        on_edges=enrichment(energy, edges),
        on_corners=enrichment(energy, corners),
        correlation=rank_correlation(gradient, energy),
    )


def _placed(session: Session, image: BenchmarkImage, model: Rescaler, preset: str) -> Placed | None:
    """Measure the perturbation of an image; None if a solve failed."""
    try:
        plain, lr = (lr_of(session.outcome(session.solve(image, model, name))) for name in ("plain", preset))
    except Failed:
        return None
    return place(image, plain, lr)


def _row(table: ResultTable, dataset: str, model: Rescaler, preset: str, found: Sequence[Placed]) -> Sequence[Cell]:
    label = Label(chapter=Perturbation.slug, model=model.name, dataset=dataset, variant=preset)
    # An image that stayed plain has no perturbation to place.
    changed = [place for place in found if place.rms]
    for place in changed:
        here = label.with_(picture=place.image.name)
        table.add(here, "edge_enrichment", place.on_edges)
        table.add(here, "corner_enrichment", place.on_corners)

    def percent(metric: str, values: Sequence[float]) -> Number:
        return table.add_mean(label, metric, [100 * value for value in values], "%").shown(".0f")

    def factor(metric: str, values: Sequence[float]) -> Pair:
        mean, half = table.add_interval(label, metric, values)
        return Pair(first=mean.shown(), second=half.shown())

    known = [place.correlation for place in changed if not math.isnan(place.correlation)]
    return (
        f"{dataset}, {model.name}",
        preset,
        table.add(label.with_(picture="all"), "pictures", len(changed)).shown(".0f"),
        table.add_mean(label, "rms_change", [place.rms for place in changed], "gray levels").shown(),
        percent("edge_energy", [place.edges for place in changed]),
        factor("edge_enrichment", [place.on_edges for place in changed]),
        percent("corner_energy", [place.corners for place in changed]),
        factor("corner_enrichment", [place.on_corners for place in changed]),
        table.add_mean(label, "gradient_rank_correlation", known).shown(),
    )


def _galleries(session: Session, table: ResultTable) -> Iterator[Gallery]:
    for model in session.models:
        images: list[InlineImage] = []
        for image in session.examples:
            placed = _placed(session, image, model, "balanced")
            if placed is not None:
                images.extend(_images(placed, model, table))
        if images:
            yield Gallery(title=f"{model.name}, balanced: center of LR picture and perturbation", images=images, rows=2)


def _images(placed: Placed, model: Rescaler, table: ResultTable) -> Iterator[InlineImage]:
    image = placed.image
    lr, change = center_crop(placed.lr, _SIDE), center_crop(placed.change, _SIDE)
    gain = 0.5 / max(float(change.abs().max()), 1 / 255)
    label = Label(
        chapter=Perturbation.slug, model=model.name, dataset=image.dataset, picture=image.name, variant="balanced"
    )
    amplified = table.add(label, "shown_amplification", gain).shown(".0f")
    yield png_block(lr, f"{image.label}, center of the collaborative LR picture", [image.label])
    yield png_block(0.5 + gain * change, f"{image.label}, perturbation around gray", ["perturbation × ", amplified])
