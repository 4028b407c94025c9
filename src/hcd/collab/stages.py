"""The two stages: what each moves, within which bounds, and the LR that the loop sees of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hcd.collab.region import Bounds, Region
from hcd.collab.settings import Settings
from hcd.collab.stored import Stored
from hcd.ops import quantize
from hcd.rescaler import Rescaler


@dataclass(frozen=True, kw_only=True)
class Sample:
    """State of the solve: the HR sample, and the LR sample that belongs to it, not yet rounded for the file."""

    hr: Tensor
    lr: Tensor


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One descent.

    Attributes:
        name: ``hr`` or ``lr``.
        steps: gradient evaluations.
        region: the feasible set; its center is the unperturbed sample.
        start: where the descent starts.
        to_lr: maps a point to the LR that the loop upscales, differentiable.
        to_sample: maps a point to the samples that it stands for.
    """

    name: Literal["hr", "lr"]
    steps: int
    region: Region
    start: Tensor
    to_lr: Callable[[Tensor], Tensor]
    to_sample: Callable[[Tensor], Sample]


def hr_stage(
    hr: Tensor, model: Rescaler, stored: Stored, bounds: Bounds, settings: Settings, generator: torch.Generator
) -> Stage:
    """Return the stage that perturbs the HR input; the LR is what it is downscaled to."""

    def to_lr(sample: Tensor) -> Tensor:
        lr = model.downscale(sample)
        return stored.stand_in(quantize(lr, stored.levels) if settings.round_hr else lr)

    def to_sample(sample: Tensor) -> Sample:
        return Sample(hr=sample, lr=bounds.clip(quantize(model.downscale(sample), stored.levels)))

    region = Region(center=hr, norm=settings.norm, epsilon=settings.epsilon_hr)
    return Stage(
        name="hr",
        steps=settings.steps_hr,
        region=region,
        start=region.random_point(generator) if settings.random_start else hr,
        to_lr=to_lr,
        to_sample=to_sample,
    )


def lr_stage(sample: Sample, stored: Stored, bounds: Bounds, settings: Settings, generator: torch.Generator) -> Stage:
    """Return the stage that perturbs the LR image alone, starting from the LR of a sample."""
    region = bounds.region(sample.lr, settings.norm, settings.epsilon_lr)
    return Stage(
        name="lr",
        steps=settings.steps_lr,
        region=region,
        start=region.random_point(generator) if settings.random_start else region.center,
        to_lr=stored.stand_in,
        to_sample=lambda lr: replace(sample, lr=lr),
    )
