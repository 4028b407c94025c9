"""What presets and step rules gain, and what they cost, picture by picture against the published scheme."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from hcd.collab import Evaluation, Result, collaborate, get_settings
from hcd.errors import HcdError, UsageError
from hcd.metrics import psnr
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd_lab.bench.pictures import BenchPicture

BASELINE = "paper"
# Stands for the PSNR of two equal pictures where a mean is taken.
_EQUAL = 99.0


@dataclass(frozen=True, kw_only=True)
class Method:
    """A preset, or a step rule in the LR stage with the bounds of ``balanced``.

    Attributes:
        name: as :func:`parse_contestant` takes it.
        preset: of ``collaborate``.
        settings: in place of the preset's.
    """

    name: str
    preset: str
    settings: Mapping[str, Any]


def parse_contestant(text: str, *, loss: str | None = None) -> Method:
    """``PRESET``, or ``RULE@N`` for a step rule with N evaluations of the LR stage.

    Args:
        text: the name.
        loss: what is minimized, where that is not the preset's own; the published scheme stays as published.

    Raises:
        UsageError: neither, or no such loss.

    >>> parse_contestant("lbfgs@40").settings
    {'rule': 'lbfgs', 'steps_lr': 40}
    """
    rule, at, count = text.partition("@")
    changed: dict[str, Any] = {} if loss is None or text == BASELINE else {"loss": loss}
    if not at:
        get_settings(text, **changed)
        return Method(name=text, preset=text, settings=changed)
    if not (count.isdecimal() and int(count) > 0):
        raise UsageError(f"'{text}': after @ comes a number of evaluations, 1 or more; such as {rule}@40")
    settings: dict[str, Any] = {"rule": rule, "steps_lr": int(count), **changed}
    # An unknown rule is told here.
    get_settings("balanced", **settings)
    return Method(name=text, preset="balanced", settings=settings)


@dataclass(frozen=True, kw_only=True)
class SolverRow:
    """One contestant on one picture, measured on the LR picture in 8 bits.

    Attributes:
        model, picture, contestant: what was run.
        plain_psnr_y, psnr_y: of the restored 8-bit picture on luma, border of ``scale`` pixels cut, dB.
        lr_psnr: of the LR picture against the plain one, RGB, dB; infinite where both are equal.
        evaluations: spent.
        seconds: of the whole ``collaborate`` call.
        receiver_ratio: seconds to upscale the LR picture over those for the plain one, one after the other.
        curve: after every gradient, evaluations of all stages so far, seconds, and how much the best PSNR (RGB, dB,
            as the loop sees it, so mostly before rounding) is above that of plain.
    """

    model: str
    picture: str
    contestant: str
    plain_psnr_y: float
    psnr_y: float
    lr_psnr: float
    evaluations: int
    seconds: float
    receiver_ratio: float
    curve: tuple[tuple[int, float, float], ...]

    @property
    def gain(self) -> float:
        """Over plain, on luma, in dB."""
        return self.psnr_y - self.plain_psnr_y


@dataclass(frozen=True, kw_only=True)
class SolverMean:
    """A contestant's figures over all pictures of a model.

    Attributes:
        gain, worst_gain: mean and smallest gain over plain, PSNR-Y in dB.
        of_baseline: mean gain over that of the published scheme; NaN without it.
        evaluations: mean.
        seconds: mean.
        of_baseline_seconds: all seconds over all of the published scheme's; NaN without it.
        lr_psnr, worst_lr_psnr: mean and smallest PSNR of the LR pictures against the plain ones, dB; 99 at most.
        receiver_ratio: median over the pictures.
    """

    model: str
    contestant: str
    gain: float
    worst_gain: float
    of_baseline: float
    evaluations: float
    seconds: float
    of_baseline_seconds: float
    lr_psnr: float
    worst_lr_psnr: float
    receiver_ratio: float


@dataclass(frozen=True, kw_only=True)
class SolverReport:
    """All rows; ``failed`` names what could not be measured, and why."""

    rows: tuple[SolverRow, ...]
    failed: tuple[str, ...] = ()

    def means(self) -> list[SolverMean]:
        """One entry per model and contestant, in the order of the rows."""
        return [self._mean(*key) for key in dict.fromkeys((row.model, row.contestant) for row in self.rows)]

    def of(self, model: str, contestant: str) -> list[SolverRow]:
        return [row for row in self.rows if (row.model, row.contestant) == (model, contestant)]

    def _mean(self, model: str, contestant: str) -> SolverMean:
        rows, baseline = self.of(model, contestant), self.of(model, BASELINE)
        gain, seconds = fmean(row.gain for row in rows), sum(row.seconds for row in rows)
        # Only pictures that both were measured on can be compared.
        compared = bool(baseline) and [row.picture for row in rows] == [row.picture for row in baseline]
        return SolverMean(
            model=model,
            contestant=contestant,
            gain=gain,
            worst_gain=min(row.gain for row in rows),
            of_baseline=gain / fmean(row.gain for row in baseline) if compared else math.nan,
            evaluations=fmean(row.evaluations for row in rows),
            seconds=seconds / len(rows),
            of_baseline_seconds=seconds / sum(row.seconds for row in baseline) if compared else math.nan,
            lr_psnr=fmean(min(row.lr_psnr, _EQUAL) for row in rows),
            worst_lr_psnr=min(_EQUAL, *(row.lr_psnr for row in rows)),
            receiver_ratio=median(row.receiver_ratio for row in rows),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": [asdict(row) for row in self.rows],
            "mean": [asdict(mean) for mean in self.means()],
            "failed": list(self.failed),
        }

    @classmethod
    def joined(cls, reports: Sequence[SolverReport]) -> SolverReport:
        """One report of the rows of several."""
        return cls(
            rows=tuple(row for report in reports for row in report.rows),
            failed=tuple(failure for report in reports for failure in report.failed),
        )

    @classmethod
    def from_json(cls, value: Any) -> SolverReport:
        """What :meth:`as_json` made.

        Raises:
            UsageError: something else.
        """
        try:
            rows = [{**row, "curve": tuple(tuple(point) for point in row["curve"])} for row in value["rows"]]
            return cls(rows=tuple(SolverRow(**row) for row in rows), failed=tuple(value["failed"]))
        except (KeyError, TypeError) as error:
            raise UsageError("not a report of 'hcd bench solver'; give a file that its --json wrote") from error


def bench_solver(
    models: Sequence[Rescaler],
    pictures: Sequence[BenchPicture],
    contestants: Sequence[Method],
    *,
    crop: int | None = None,
    on_start: Callable[[str, str, str], None] | None = None,
    on_row: Callable[[SolverRow, SolverReport], None] | None = None,
) -> SolverReport:
    """Run every contestant on every picture with every model.

    Args:
        crop: longest side of the middle part that is used of a picture; None for all of it.
        on_start, on_row: progress; names of model, picture and contestant, and a row with the report so far.

    Raises:
        UsageError: no model, no picture, no contestant, or a crop below 1.
    """
    if not models or not contestants or not pictures:
        raise UsageError("nothing to measure; name at least one model, one preset or RULE@N, and one picture")
    if crop is not None and crop < 1:
        raise UsageError(f"crop {crop}: must be 1 or more")
    rows: list[SolverRow] = []
    failed: list[str] = []
    for model in models:
        for picture in pictures:
            try:
                hr = _middle(picture.read(), model.scale, crop)
                for contestant in contestants:
                    if on_start is not None:
                        on_start(model.name, picture.name, contestant.name)
                    row = _measure(model, picture.name, hr, contestant)
                    rows.append(row)
                    if on_row is not None:
                        on_row(row, SolverReport(rows=tuple(rows), failed=tuple(failed)))
            except HcdError as error:
                failed.append(f"{picture.name}: {error}")
    return SolverReport(rows=tuple(rows), failed=tuple(failed))


def _middle(rgb: Tensor, scale: int, crop: int | None) -> Tensor:
    """The middle of a picture, its sides multiples of the scale."""
    sides = [min(side, crop or side) // scale * scale for side in rgb.shape[-2:]]
    if min(sides) < 4 * scale:
        raise UsageError(f"too small to measure at scale {scale}; leave it out")
    top, left = ((whole - side) // 2 for whole, side in zip(rgb.shape[-2:], sides, strict=True))
    return rgb[..., top : top + sides[0], left : left + sides[1]]


@torch.no_grad()
def _timed(lr: Tensor, model: Rescaler) -> tuple[Tensor, float]:
    """The restored picture in 8 bits, and the seconds that it took."""
    start = time.perf_counter()
    return quantize(model.upscale(lr)), time.perf_counter() - start


def _measure(model: Rescaler, name: str, hr: Tensor, contestant: Method) -> SolverRow:
    result = collaborate(hr, model, contestant.preset, **contestant.settings)
    restored, seconds = _timed(result.lr, model)
    plain_restored, reference_seconds = _timed(result.plain_lr, model)
    return SolverRow(
        model=model.name,
        picture=name,
        contestant=contestant.name,
        plain_psnr_y=psnr(plain_restored, hr, border=model.scale),
        psnr_y=psnr(restored, hr, border=model.scale),
        lr_psnr=psnr(result.lr, result.plain_lr, channel="rgb"),
        evaluations=result.grad_evals,
        seconds=result.seconds,
        receiver_ratio=seconds / reference_seconds,
        curve=tuple(_curve(result)),
    )


def _curve(result: Result) -> Iterator[tuple[int, float, float]]:
    plain, best, before = result.plain_psnr[0], -math.inf, 0
    last: Evaluation | None = None
    for entry in result.history:
        if last is not None and entry.stage != last.stage:
            before += last.step
        last, best = entry, max(best, entry.psnr)
        if plain is not None:
            yield before + entry.step, entry.seconds, best - plain
