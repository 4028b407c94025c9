"""Crops of pictures restored from each kind of LR picture, with what is still wrong in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import final

from torch import Tensor
from torch.nn import functional as F

from hcd.evaluate.comparison import ERROR_GAIN
from hcd.ops import rgb_to_y
from hcd.rescaler import Rescaler
from hcd_lab.report.blocks import Block, Gallery, Paragraph, Picture
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.jobs import Job, lr_of, original, restore
from hcd_lab.report.result_table import Of, ResultTable
from hcd_lab.report.session import Failed, Session
from hcd_lab.report.snippets import snippet
from hcd_lab.report.store import Outcome

_PRESETS = ("plain", "paper", "balanced")
# HR pixels: enough for an eye or a word, and small enough that single pixels are seen.
_SIDE = 96


@final
class Visual(Chapter):
    slug = "visual"
    title = "What it looks like"
    counterpart = "figure 4"

    def jobs(self, session: Session) -> Sequence[Job]:
        if not session.config.gallery:
            return []
        return [
            session.solve(subject, model, preset)
            for model in session.models
            for subject in session.subjects
            for preset in _PRESETS
        ]

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        if not session.config.gallery:
            return [Paragraph(parts=["The configuration asks for no pictures here."])]
        blocks: list[Block] = [
            Paragraph(
                parts=[
                    "For each model the pictures on which balanced gains most over plain, and in each the square in "
                    "which the squared error of luma falls most from plain to balanced. Both are chosen to show the "
                    "difference, so they show more of it than a picture or a part taken at random. PSNR-Y is of the "
                    f"whole picture. Error maps show the absolute error of luma times {ERROR_GAIN}, the same for all; "
                    "black is no error."
                ]
            )
        ]
        for model in session.models:
            for subject, outcomes in most_gained(session, model):
                blocks.append(_gallery(model, subject, outcomes, table))
        return blocks


def most_gained(session: Session, model: Rescaler) -> list[tuple[BenchmarkImage, dict[str, Outcome]]]:
    """The pictures of the gallery with what each preset found, the largest gain of ``balanced`` over ``plain`` first.

    Pictures that one of the presets failed on are left out; of equal gains, the first label comes first.
    """
    found = []
    for subject in session.subjects:
        try:
            outcomes = {preset: session.outcome(session.solve(subject, model, preset)) for preset in _PRESETS}
        except Failed:
            continue
        found.append((subject, outcomes))
    found.sort(key=lambda pair: (-_gain(pair[1]), pair[0].label))
    return found[: session.config.gallery]


def _gain(outcomes: dict[str, Outcome]) -> float:
    after, before = outcomes["balanced"]["psnr_y"], outcomes["plain"]["psnr_y"]
    gain: float = after - before
    # Two perfect pictures.
    return 0.0 if math.isnan(gain) else gain


def best_window(before: Tensor, after: Tensor, side: int, step: int) -> tuple[int, int, int]:
    """Top, left and side of the square in which a sum falls most; the first of equal ones.

    Args:
        before, after: what is summed, ``[H, W]``; a border of ``step`` pixels is left out, as figures leave it out.
        side: of the square; smaller in small pictures.
        step: top, left and side are multiples of it.
    """
    fall = (before - after).double()[step:-step, step:-step]
    side = max(step, min(side, *fall.shape) // step * step)
    means = F.avg_pool2d(fall[None, None], side, stride=step)[0, 0]
    row, column = divmod(int(means.flatten().argsort(descending=True, stable=True)[0]), means.shape[1])
    return (row + 1) * step, (column + 1) * step, side


def _gallery(model: Rescaler, subject: BenchmarkImage, outcomes: dict[str, Outcome], table: ResultTable) -> Gallery:
    hr = original(subject, model.scale)
    luma = rgb_to_y(hr)
    restored = {preset: restore(model, lr_of(outcome), hr) for preset, outcome in outcomes.items()}
    errors = {preset: (rgb_to_y(picture) - luma).abs() for preset, picture in restored.items()}
    squares = {preset: error.square()[0, 0] for preset, error in errors.items()}
    top, left, side = best_window(squares["plain"], squares["balanced"], _SIDE, model.scale)

    def part(picture: Tensor, scale: int = 1) -> Tensor:
        return picture[..., top // scale : (top + side) // scale, left // scale : (left + side) // scale]

    def pictures() -> Iterator[Picture]:
        yield snippet(part(hr), f"{subject.label}, part of the original", ["original"])
        lr = part(lr_of(outcomes["balanced"]), model.scale)
        yield snippet(lr, f"{subject.label}, the same part of the collaborative LR picture", ["LR, balanced"])
        of = Of(chapter=Visual.slug, model=model.name, dataset=subject.dataset, picture=subject.name)
        for preset in _PRESETS:
            figure = table.add(of.with_(variant=preset), "psnr_y", outcomes[preset]["psnr_y"], "dB").shown()
            alt = f"{subject.label}, the same part restored, {preset}"
            yield snippet(part(restored[preset]), alt, [f"{preset}, ", figure, " dB"])
            error = (part(errors[preset]) * ERROR_GAIN).expand(-1, 3, -1, -1)
            yield snippet(error, f"{alt}, error", [f"error of {preset}"], gray=True)

    return Gallery(title=f"{model.name}, {subject.label}", pictures=tuple(pictures()), rows=2)
