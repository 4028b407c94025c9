"""Jobs of a report: one measurement each, with a content key, a cost estimate and a cacheable outcome."""

from __future__ import annotations

import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from hcd.collab import Evaluation, get_settings
from hcd.errors import ImageError
from hcd.evaluate import measure
from hcd.image import Picture, decode_lr
from hcd.memory import fit_upscaling
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd_lab.bench import BenchmarkImage, describe_machine
from hcd_lab.bench.machine import finish
from hcd_lab.report.store import Outcome, content_key

OnEvaluation = Callable[[Evaluation], None]

REPEATS = 21
"""Pairs of upscalings that a :class:`ReceiverTiming` measures."""
# Costs count gradient evaluations of the LR stage on a megapixel; one of the HR stage runs the network twice.
_HR_STAGE = 2.0
_UPSCALING = 0.5
# Avoids a division by zero on clocks with coarse ticks.
_SHORTEST = 1e-9


class Job(ABC):
    """One measurement.

    Attributes:
        model: rescaler to run.
        exclusive: whether times are measured, so that nothing else may run on the machine.
    """

    model: Rescaler
    exclusive: ClassVar[bool] = False

    @property
    @abstractmethod
    def key(self) -> str:
        """Hash of everything that decides the outcome."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Name for progress and errors."""

    @abstractmethod
    def cost(self) -> float:
        """Return a rough cost in gradient evaluations of the LR stage on a megapixel."""

    @abstractmethod
    def run(self, on_evaluation: OnEvaluation | None = None) -> Outcome:
        """Measure."""


def device_of(model: Rescaler) -> str:
    """Return the device of the weights; ``cpu`` for a model without any."""
    weights = next(model.parameters(), None)
    return "cpu" if weights is None else str(weights.device)


def identity(model: Rescaler) -> tuple[str, str, str, str]:
    """Return what distinguishes a model, and the kind of its device, on which metrics depend in the last digits."""
    return model.name, model.weights_hash, model.latent, device_of(model).partition(":")[0]


@final
@dataclass(frozen=True, kw_only=True)
class Solve(Job):
    """Downscale an image under a preset, and restore it from the LR file.

    The outcome has the metrics of :class:`hcd.evaluate.Row`, ``megapixels`` of the original, and ``lr_file``, the LR
    file in base64.

    Attributes:
        settings: replace the preset's, in the order given.
    """

    image: BenchmarkImage
    model: Rescaler
    preset: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def key(self) -> str:
        return content_key(
            job="solve",
            image=self.image.digest,
            crop=self.image.crop,
            model=identity(self.model),
            settings=repr(get_settings(self.preset, **dict(self.settings))),
        )

    @property
    def title(self) -> str:
        changed = "".join(f" {name}={value}" for name, value in self.settings)
        part = "" if self.image.crop is None else f" center {self.image.crop}"
        return f"{self.model.name} {self.image.label}{part} {self.preset}{changed}"

    def cost(self) -> float:
        settings = get_settings(self.preset, **dict(self.settings))
        evaluations = _HR_STAGE * settings.steps_hr + settings.steps_lr
        return (evaluations + 3 * _UPSCALING) * _pixels(self.image) / 1e6

    def run(self, on_evaluation: OnEvaluation | None = None) -> Outcome:
        hr = self.image.original(self.model.scale)
        found = measure(
            Picture(rgb=hr),
            self.model,
            get_settings(self.preset, **dict(self.settings)),
            image=self.image.label,
            preset=self.preset,
            device=device_of(self.model),
            on_evaluation=on_evaluation,
        )
        return {
            "psnr_y": found.row.psnr_y,
            "ssim_y": found.row.ssim_y,
            "psnr_rgb": found.row.psnr_rgb,
            "lr_psnr": found.row.lr_psnr,
            "lr_bytes": found.row.lr_bytes,
            "grad_evals": found.row.grad_evals,
            "seconds": found.row.seconds,
            "megapixels": hr.shape[-1] * hr.shape[-2] / 1e6,
            "lr_file": base64.b64encode(found.lr_file).decode(),
        }


def lr_of(outcome: Outcome) -> Tensor:
    """Decode the LR image of a :class:`Solve`: ``[1, 3, h, w]``, multiples of 1/255."""
    return decode_lr(base64.b64decode(outcome["lr_file"]), Path("LR file"))[0].rgb


@torch.no_grad()
def restore(model: Rescaler, lr: Tensor, hr: Tensor) -> Tensor:
    """Upscale an LR image to the 8-bit picture that a receiver shows, cropped to the size of ``hr``, on the CPU."""
    lr = lr.to(device_of(model))
    return quantize(fit_upscaling(lr, model).upscale(lr)[..., : hr.shape[-2], : hr.shape[-1]].cpu())


@final
@dataclass(frozen=True, kw_only=True)
class ReceiverTiming(Job):
    """Time the upscaling of the plain and the collaborative LR image of one original, in turn.

    The outcome has lists of ``repeats`` seconds, where equal indices form a pair: ``plain_seconds`` and
    ``collaborative_seconds`` by the clock, ``plain_cpu_seconds`` and ``collaborative_cpu_seconds`` over all threads.

    Attributes:
        plain, collaborative: jobs that make the LR images; their keys identify the files.
        find: returns the outcome of such a job.
        repeats: number of pairs, after one to warm up. The order within a pair alternates.
    """

    exclusive: ClassVar[bool] = True
    model: Rescaler
    plain: Solve
    collaborative: Solve
    find: Callable[[Job], Outcome]
    repeats: int = REPEATS

    @property
    def key(self) -> str:
        return content_key(
            job="receiver",
            plain=self.plain.key,
            collaborative=self.collaborative.key,
            model=identity(self.model),
            repeats=self.repeats,
            machine=describe_machine(torch.get_num_threads()),
        )

    @property
    def title(self) -> str:
        return f"{self.model.name} {self.plain.image.label} upscaling, plain and {self.collaborative.preset} in turn"

    def cost(self) -> float:
        # The cost of a plain solve is that of three upscalings.
        return 2 * (self.repeats + 1) * self.plain.cost() / 3

    @torch.no_grad()
    def run(self, on_evaluation: OnEvaluation | None = None) -> Outcome:
        device = device_of(self.model)
        images = {
            "plain": lr_of(self.find(self.plain)).to(device),
            "collaborative": lr_of(self.find(self.collaborative)).to(device),
        }
        found: Outcome = {f"{name}_{kind}": [] for name in images for kind in ("seconds", "cpu_seconds")}
        for turn in range(self.repeats + 1):
            for name in sorted(images, reverse=turn % 2 == 0):
                wall, cpu = time.perf_counter(), time.process_time()
                self.model.upscale(images[name])
                finish(device)
                if turn:
                    found[f"{name}_seconds"].append(time.perf_counter() - wall)
                    found[f"{name}_cpu_seconds"].append(time.process_time() - cpu)
        return found


def ratios(outcome: Outcome, kind: str = "seconds") -> list[float]:
    """Return collaborative over plain for each pair of a :class:`ReceiverTiming`, in ``seconds`` or ``cpu_seconds``."""
    pairs = zip(outcome[f"collaborative_{kind}"], outcome[f"plain_{kind}"], strict=True)
    return [max(a, _SHORTEST) / max(b, _SHORTEST) for a, b in pairs]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(low), median(values), float(high)


@cache
def _size(read: Callable[[], Tensor]) -> tuple[int, int]:
    """Return height and width. Cached, since the costs of all jobs on an image ask for it."""
    try:
        height, width = read().shape[-2:]
    except ImageError:
        return 0, 0
    return height, width


def _pixels(image: BenchmarkImage) -> int:
    height, width = _size(image.read)
    limit = image.crop
    return height * width if limit is None else min(height, limit) * min(width, limit)
