"""What is measured for a report: jobs with a name by content, a cost and an outcome that can be kept."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from hcd.collab import Evaluation, get_settings
from hcd.errors import ImageError
from hcd.evaluate import benchmark_crop, measure
from hcd.image import Picture, decode_lr
from hcd.memory import fit_upscaling
from hcd.metrics import psnr
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.store import Outcome, content_key

OnEvaluation = Callable[[Evaluation], None]

# Costs count gradient evaluations of the LR stage on a megapixel; one of the HR stage goes through the network twice.
_HR_STAGE = 2.0
_RESTORING = 0.5


class Job(ABC):
    """Something to measure, and what names it.

    Attributes:
        model: what it runs.
        alone: whether it takes times or memory, and so wants the machine for itself.
    """

    model: Rescaler
    alone: ClassVar[bool] = False

    @property
    @abstractmethod
    def key(self) -> str:
        """Of everything that decides the outcome."""

    @property
    @abstractmethod
    def title(self) -> str:
        """For progress and errors."""

    @abstractmethod
    def cost(self) -> float:
        """Roughly, in gradient evaluations of the LR stage on a megapixel."""

    @abstractmethod
    def run(self, on_evaluation: OnEvaluation | None = None) -> Outcome:
        """Measure it."""


def original(subject: BenchmarkImage, scale: int) -> Tensor:
    """The picture, or the middle part of it, cut to a multiple of the scale: ``[1, 3, H, W]``, RGB in [0, 1].

    Raises:
        ImageError: cannot be read, or too small.
    """
    rgb = subject.read()
    if subject.crop is not None:
        sides = [min(side, subject.crop) for side in rgb.shape[-2:]]
        top, left = ((whole - side) // 2 for whole, side in zip(rgb.shape[-2:], sides, strict=True))
        rgb = rgb[..., top : top + sides[0], left : left + sides[1]]
    return benchmark_crop(rgb, scale, subject.label)


def device_of(model: Rescaler) -> str:
    """Where its weights are; ``cpu`` without any."""
    weights = next(model.parameters(), None)
    return "cpu" if weights is None else str(weights.device)


def identity(model: Rescaler) -> tuple[str, str, str, str]:
    """What tells a model from all others, and one kind of device from others: their figures and times differ."""
    return model.name, model.weights_hash, model.latent, device_of(model).partition(":")[0]


@final
@dataclass(frozen=True, kw_only=True)
class Solve(Job):
    """A picture downscaled under a preset, and restored from the file.

    The outcome has the figures of :class:`hcd.evaluate.Row`, and besides:

    - ``plain_lr_psnr``: PSNR of the LR picture against the plain one, RGB, dB; null where they are equal.
    - ``max_change``: the largest distance of the two, in gray levels.
    - ``unrounded_psnr_y``: PSNR-Y of what the last sample would restore without any rounding; null without stages.
    - ``history``: of every gradient evaluation its stage, step, loss, PSNR (RGB, dB, as the loop saw it), seconds.
    - ``megapixels``: of the original.
    - ``lr_file``: the LR file, base64.

    Attributes:
        settings: in place of the preset's, in the order given.
    """

    subject: BenchmarkImage
    model: Rescaler
    preset: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def key(self) -> str:
        return content_key(
            job="solve",
            picture=self.subject.digest,
            crop=self.subject.crop,
            model=identity(self.model),
            settings=repr(get_settings(self.preset, **dict(self.settings))),
        )

    @property
    def title(self) -> str:
        changed = "".join(f" {name}={value}" for name, value in self.settings)
        part = "" if self.subject.crop is None else f" middle {self.subject.crop}"
        return f"{self.model.name} {self.subject.label}{part} {self.preset}{changed}"

    def cost(self) -> float:
        settings = get_settings(self.preset, **dict(self.settings))
        evaluations = _HR_STAGE * settings.steps_hr + settings.steps_lr
        return (evaluations + 3 * _RESTORING) * _pixels(self.subject) / 1e6

    def run(self, on_evaluation: OnEvaluation | None = None) -> Outcome:
        hr = original(self.subject, self.model.scale)
        found = measure(
            Picture(rgb=hr),
            self.model,
            get_settings(self.preset, **dict(self.settings)),
            image=self.subject.label,
            preset=self.preset,
            device=device_of(self.model),
            on_evaluation=on_evaluation,
        )
        result, row = found.result, found.row
        plain_lr = result.plain_lr.cpu()
        change = (found.lr - plain_lr) * 255
        same = bool((change == 0).all())
        unrounded = None
        if result.history:
            restored = _upscale(self.model, result.collaborative_lr, hr).clamp(0, 1)
            unrounded = psnr(restored, hr, border=self.model.scale)
        return {
            "psnr_y": row.psnr_y,
            "ssim_y": row.ssim_y,
            "psnr_rgb": row.psnr_rgb,
            "lr_psnr": row.lr_psnr,
            "lr_bytes": row.lr_bytes,
            "grad_evals": row.grad_evals,
            "seconds": row.seconds,
            "plain_lr_psnr": None if same else psnr(found.lr, plain_lr, channel="rgb"),
            "max_change": round(float(change.abs().max())),
            "unrounded_psnr_y": unrounded,
            "history": [[e.stage, e.step, e.loss, e.psnr, e.seconds] for e in result.history],
            "megapixels": hr.shape[-1] * hr.shape[-2] / 1e6,
            "lr_file": base64.b64encode(found.lr_file).decode(),
        }


def lr_of(outcome: Outcome) -> Tensor:
    """The LR picture of a :class:`Solve`, decoded from its file: ``[1, 3, h, w]``, multiples of 1/255."""
    return decode_lr(base64.b64decode(outcome["lr_file"]), Path("LR file"))[0].rgb


def restore(model: Rescaler, lr: Tensor, hr: Tensor) -> Tensor:
    """The 8-bit picture that an LR picture restores, as large as the original, on the CPU."""
    return quantize(_upscale(model, lr, hr))


@torch.no_grad()
def _upscale(model: Rescaler, lr: Tensor, hr: Tensor) -> Tensor:
    """In tiles where memory wants it."""
    lr = lr.to(device_of(model))
    return fit_upscaling(lr, model).upscale(lr)[..., : hr.shape[-2], : hr.shape[-1]].cpu()


@cache
def _size(read: Callable[[], Tensor]) -> tuple[int, int]:
    """Height and width; asked for every job on a picture, so that it is read for that once only."""
    try:
        height, width = read().shape[-2:]
    except ImageError:
        return 0, 0
    return height, width


def _pixels(subject: BenchmarkImage) -> int:
    height, width = _size(subject.read)
    limit = subject.crop
    return height * width if limit is None else min(height, limit) * min(width, limit)
