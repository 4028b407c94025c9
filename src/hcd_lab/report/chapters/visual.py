"""The visual comparison: crops restored under each preset, with error maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import final

from torch import Tensor
from torch.nn import functional as F

from hcd.evaluate.comparison import ERROR_GAIN
from hcd.ops import rgb_to_y
from hcd.rescaler import Rescaler
from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.blocks import Block, Gallery, InlineImage, Paragraph, png_block
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.trials import psnr_gain
from hcd_lab.report.jobs import Job, lr_of, restore
from hcd_lab.report.results import Label, ResultTable
from hcd_lab.report.session import Failed, Session
from hcd_lab.report.store import Outcome

_PRESETS = ("plain", "paper", "balanced")
# HR pixels a side: large enough for an eye or a word, small enough to see single pixels.
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
            session.solve(image, model, preset)
            for model in session.models
            for image in session.images
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
                    "difference, so they overstate it. PSNR-Y is of the whole picture. Error maps show the absolute "
                    f"error of luma times {ERROR_GAIN}; black means no error."
                ]
            )
        ]
        for model in session.models:
            for image, outcomes in most_gained(session, model):
                blocks.append(_gallery(model, image, outcomes, table))
        return blocks


def most_gained(session: Session, model: Rescaler) -> list[tuple[BenchmarkImage, dict[str, Outcome]]]:
    """Return the images of the gallery with their outcomes, the largest gain of ``balanced`` over ``plain`` first.

    Images that failed under a preset are left out; equal gains are ordered by label.
    """
    found = []
    for image in session.images:
        try:
            outcomes = {preset: session.outcome(session.solve(image, model, preset)) for preset in _PRESETS}
        except Failed:
            continue
        gain = psnr_gain(outcomes["balanced"], outcomes["plain"])
        found.append((0.0 if math.isnan(gain) else gain, image, outcomes))
    found.sort(key=lambda entry: (-entry[0], entry[1].label))
    return [(image, outcomes) for _, image, outcomes in found[: session.config.gallery]]


def best_window(before: Tensor, after: Tensor, side: int, step: int) -> tuple[int, int, int]:
    """Return top, left and side of the square in which a sum falls most; of equal ones, the first.

    Args:
        before, after: summands ``[H, W]``; a border of ``step`` pixels is left out, as metrics leave it out.
        side: side of the square; smaller in small images.
        step: top, left and side are multiples of it.
    """
    fall = (before - after).double()[step:-step, step:-step]
    side = max(step, min(side, *fall.shape) // step * step)
    means = F.avg_pool2d(fall[None, None], side, stride=step)[0, 0]
    row, column = divmod(int(means.flatten().argsort(descending=True, stable=True)[0]), means.shape[1])
    return (row + 1) * step, (column + 1) * step, side


def _gallery(model: Rescaler, image: BenchmarkImage, outcomes: dict[str, Outcome], table: ResultTable) -> Gallery:
    hr = image.original(model.scale)
    luma = rgb_to_y(hr)
    restored = {preset: restore(model, lr_of(outcome), hr) for preset, outcome in outcomes.items()}
    errors = {preset: (rgb_to_y(picture) - luma).abs() for preset, picture in restored.items()}
    squares = {preset: error.square()[0, 0] for preset, error in errors.items()}
    top, left, side = best_window(squares["plain"], squares["balanced"], _SIDE, model.scale)

    def crop(picture: Tensor, scale: int = 1) -> Tensor:
        return picture[..., top // scale : (top + side) // scale, left // scale : (left + side) // scale]

    def images() -> Iterator[InlineImage]:
        yield png_block(crop(hr), f"{image.label}, crop of the original", ["original"])
        lr = crop(lr_of(outcomes["balanced"]), model.scale)
        yield png_block(lr, f"{image.label}, the same crop of the collaborative LR picture", ["LR, balanced"])
        label = Label(chapter=Visual.slug, model=model.name, dataset=image.dataset, picture=image.name)
        for preset in _PRESETS:
            psnr_y = table.add(label.with_(variant=preset), "psnr_y", outcomes[preset]["psnr_y"], "dB").shown()
            alt = f"{image.label}, the same crop restored, {preset}"
            yield png_block(crop(restored[preset]), alt, [f"{preset}, ", psnr_y, " dB"])
            error = (crop(errors[preset]) * ERROR_GAIN).expand(-1, 3, -1, -1)
            yield png_block(error, f"{alt}, error", [f"error of {preset}"], gray=True)

    return Gallery(title=f"{model.name}, {image.label}", images=tuple(images()), rows=2)
