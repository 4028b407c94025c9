"""Benchmark presets and step rules: gain and cost, image by image, against the published scheme."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from hcd.collab import Evaluation, Result, collaborate, get_settings
from hcd.errors import HcdError, UsageError
from hcd.metrics import psnr
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd_lab.bench.benchmark_model import describe_machine
from hcd_lab.bench.images import BenchmarkImage
from hcd_lab.bench.result import BenchResult, Row, ratio

BASELINE = "paper"
FIELDS = ("model", "picture", "method", "gain", "lr_psnr", "evaluations", "seconds", "receiver_ratio", "curve")
"""Fields of a row that means and frontiers are made from."""
# PSNR of equal pictures in a mean.
_EQUAL = 99.0


@dataclass(frozen=True, kw_only=True)
class Method:
    """A preset, or a step rule in the LR stage with the bounds of ``balanced``.

    Attributes:
        name: name that :func:`parse_method` parses.
        preset: preset of ``collaborate``.
        settings: settings that replace the preset's.
    """

    name: str
    preset: str
    settings: Mapping[str, Any]


def parse_method(text: str, *, loss: str | None = None) -> Method:
    """Parse ``PRESET``, or ``RULE@N`` for a step rule with N evaluations of the LR stage.

    Args:
        text: the name.
        loss: replaces the loss of the preset, but for the published scheme.

    Raises:
        UsageError: neither, or an unknown loss.

    >>> parse_method("lbfgs@40").settings
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
    # Raises on an unknown rule.
    get_settings("balanced", **settings)
    return Method(name=text, preset="balanced", settings=settings)


def bench_solver(
    models: Sequence[Rescaler],
    images: Sequence[BenchmarkImage],
    methods: Sequence[Method],
    *,
    crop: int | None = None,
    on_start: Callable[[str, str, str], None] | None = None,
    on_row: Callable[[BenchResult], None] | None = None,
) -> BenchResult:
    """Run every method on every image with every model.

    Args:
        models, images, methods: models, images and methods to run.
        crop: longest side of the center that is used of an image; None for all of it.
        on_start: called with the names of model, image and method.
        on_row: called with the result so far.

    Returns:
        Rows with the fields

        - ``model``, ``picture``, ``method``: what was run;
        - ``plain_psnr_y``, ``psnr_y``, ``gain``: of the restored 8-bit picture on luma, border of ``scale`` pixels
          cut, dB;
        - ``lr_psnr``: of the LR image against the plain one, RGB, dB; None where both are equal;
        - ``evaluations``: spent; ``seconds``: of the whole ``collaborate`` call;
        - ``receiver_ratio``: seconds to upscale the LR image over those for the plain one, one after the other;
        - ``curve``: after every gradient evaluation the evaluations of all stages so far, seconds, and the gain of the
          best PSNR so far (RGB, dB, before rounding in the LR stage).

    Raises:
        UsageError: no model, no image, no method, or a crop below 1.
    """
    if not models or not methods or not images:
        raise UsageError("nothing to measure; name at least one model, one preset or RULE@N, and one picture")
    if crop is not None and crop < 1:
        raise UsageError(f"crop {crop}: must be 1 or more")
    result = BenchResult(benchmark="solver", machine=describe_machine(torch.get_num_threads()))
    for model in models:
        for image in images:
            try:
                hr = replace(image, crop=crop).original(model.scale)
                for method in methods:
                    if on_start is not None:
                        on_start(model.name, image.label, method.name)
                    result = replace(result, rows=(*result.rows, _measure(model, image.label, hr, method)))
                    if on_row is not None:
                        on_row(result)
            except HcdError as error:
                result = replace(result, failed=(*result.failed, f"{image.label}: {error}"))
    return result


def means(result: BenchResult) -> list[Row]:
    """Average the rows of each model and method.

    Returns:
        Rows with the fields ``model``, ``method``; ``gain`` and ``worst_gain``; ``evaluations``; ``seconds``;
        ``lr_psnr`` and ``worst_lr_psnr``, 99 at most; ``receiver_ratio``, a median; and ``gain_of_paper`` and
        ``seconds_of_paper`` over those of the published scheme, None unless both ran on the same pictures.
    """
    pairs = dict.fromkeys((row["model"], row["method"]) for row in result.rows)
    return [_mean(result, model, method) for model, method in pairs]


def _mean(result: BenchResult, model: str, method: str) -> Row:
    rows, baseline = (result.select(model=model, method=name) for name in (method, BASELINE))
    if [row["picture"] for row in rows] != [row["picture"] for row in baseline]:
        baseline = []
    gain, seconds = fmean(row["gain"] for row in rows), sum(row["seconds"] for row in rows)
    lr_psnr = [_EQUAL if row["lr_psnr"] is None else min(row["lr_psnr"], _EQUAL) for row in rows]
    return {
        "model": model,
        "method": method,
        "gain": gain,
        "worst_gain": min(row["gain"] for row in rows),
        "gain_of_paper": ratio(gain, fmean(row["gain"] for row in baseline)) if baseline else None,
        "evaluations": fmean(row["evaluations"] for row in rows),
        "seconds": seconds / len(rows),
        "seconds_of_paper": ratio(seconds, sum(row["seconds"] for row in baseline)),
        "lr_psnr": fmean(lr_psnr),
        "worst_lr_psnr": min(lr_psnr),
        "receiver_ratio": median(row["receiver_ratio"] for row in rows),
    }


@torch.no_grad()
def _timed(lr: Tensor, model: Rescaler) -> tuple[Tensor, float]:
    """Return the restored 8-bit picture, and the seconds that it took."""
    start = time.perf_counter()
    return quantize(model.upscale(lr)), time.perf_counter() - start


def _measure(model: Rescaler, name: str, hr: Tensor, method: Method) -> Row:
    result = collaborate(hr, model, method.preset, **method.settings)
    restored, seconds = _timed(result.lr, model)
    plain_restored, plain_seconds = _timed(result.plain_lr, model)
    psnr_y, plain_psnr_y = (psnr(picture, hr, border=model.scale) for picture in (restored, plain_restored))
    lr_psnr = psnr(result.lr, result.plain_lr, channel="rgb")
    return {
        "model": model.name,
        "picture": name,
        "method": method.name,
        "plain_psnr_y": plain_psnr_y,
        "psnr_y": psnr_y,
        "gain": psnr_y - plain_psnr_y,
        "lr_psnr": lr_psnr if math.isfinite(lr_psnr) else None,
        "evaluations": result.grad_evals,
        "seconds": result.seconds,
        "receiver_ratio": seconds / plain_seconds,
        "curve": list(_curve(result)),
    }


def _curve(result: Result) -> Iterator[list[float]]:
    plain, best, before = result.plain_psnr[0], -math.inf, 0
    last: Evaluation | None = None
    for entry in result.history:
        if last is not None and entry.stage != last.stage:
            before += last.step
        last, best = entry, max(best, entry.psnr)
        if plain is not None:
            yield [before + entry.step, entry.seconds, best - plain]
