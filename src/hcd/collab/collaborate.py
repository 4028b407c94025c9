"""Hierarchical Collaborative Downscaling: the HR stage, the LR stage, one rounding, never worse than plain."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hcd.collab.memory import fit_solving
from hcd.collab.objective import Reconstruction
from hcd.collab.region import Region
from hcd.collab.result import Evaluation, Result, Sample
from hcd.collab.settings import Settings, get_settings
from hcd.errors import ShapeError
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd.solver import Stopped, descend


def collaborate(
    hr: Tensor,
    model: Rescaler,
    preset: str = "balanced",
    *,
    memory: int | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **settings: Any,
) -> Result:
    """Downscale so that the model's own upscaling restores the original as well as possible.

    Solves, over a perturbation of the HR input and then over one of the LR picture, each inside a ball
    and with pixels in [0, 1]::

        HR stage   min ‖U(Q(D(x + δ))) − x‖²        y₀ = Q(D(x + δ))
        LR stage   min ‖U(y₀ + δ) − x‖²             LR = Q(y₀ + δ)

    The model is left as it is, and so is the receiver: it upscales the LR as it would any other.

    Args:
        hr: float ``[N, 3, H, W]``, RGB in [0, 1]; each picture of the batch is solved by itself.
        model: a rescaler from ``hcd.load``.
        preset: ``plain``, ``paper``, ``fast``, ``balanced`` or ``best``.
        memory: bytes that the process, or on a GPU its tensors, may take; None for most of what is free. What does
            not fit whole is solved in tiles, which changes results by less than rounding does.
        on_evaluation: called after every gradient evaluation.
        on_tile: called for every tile of an evaluation with its number, from 1 on, and the number of all.
        stop: asked after every evaluation and every tile; true ends the descent with the best found so far.
        **settings: any field of :class:`Settings`, replacing the preset's.

    Returns:
        A :class:`Result`; deterministic for the same input, settings, memory and machine (unless
        ``max_seconds`` or ``stop`` cuts it short).

    Raises:
        ShapeError: not a floating point ``[N, 3, H, W]`` tensor, or values outside [0, 1].
        UsageError: unknown preset or setting.
        PictureTooLargeError: not even the smallest tiles would fit into memory.

    Source: Xu et al., "Hierarchical Collaborative Downscaling", ICCV 2023 (arXiv 2211.10643), algorithm 1.
    """
    configured = get_settings(preset, **settings)
    _check(hr)
    # The caller may be in inference mode, whose tensors can take no part in a gradient.
    with torch.inference_mode(False):
        hr = hr.detach().clone()
        run = _Run(model, configured, memory, on_evaluation, on_tile, stop or (lambda: False), time.monotonic())
        samples = [run.solve(index, hr[index : index + 1]) for index in range(len(hr))]
    return Result.of(samples, run.history, time.monotonic() - run.started)


def _check(hr: Tensor) -> None:
    if hr.ndim != 4 or hr.shape[1] != 3 or min(hr.shape) < 1 or not hr.is_floating_point():
        raise ShapeError(
            f"collaborate: got {hr.dtype} of shape {tuple(hr.shape)}, needs floating point [N, 3, H, W] "
            "with every size at least 1"
        )
    low, high = float(hr.detach().min()), float(hr.detach().max())
    if not (low >= 0 and high <= 1):
        raise ShapeError(f"collaborate: got values from {low:g} to {high:g}, needs RGB in [0, 1]; divide by 255 first?")


@dataclass
class _Run:
    """One call of ``collaborate``: what its pictures and stages share."""

    model: Rescaler
    settings: Settings
    memory: int | None
    on_evaluation: Callable[[Evaluation], None] | None
    on_tile: Callable[[int, int], None] | None
    stop: Callable[[], bool]
    started: float
    history: list[Evaluation] = field(default_factory=list)

    @torch.no_grad()
    def solve(self, index: int, hr: Tensor) -> Sample:
        settings = self.settings
        sign = -1 if settings.direction == "adversarial" else 1
        model = fit_solving(hr, self.model, steps_hr=settings.steps_hr, steps_lr=settings.steps_lr, memory=self.memory)
        objective = Reconstruction(hr=hr, model=model, sign=sign, on_tile=self._at_tile)
        generator = torch.Generator().manual_seed(settings.seed)

        plain_lr = quantize(model.downscale(hr))
        collaborative_hr = self._hr_stage(index, hr, objective, generator)
        lr_start = quantize(model.downscale(collaborative_hr)) if settings.steps_hr else plain_lr
        region = self._lr_region(lr_start, plain_lr)
        collaborative_lr = self._lr_stage(index, region, objective, generator)
        lr = quantize(collaborative_lr)

        restored = plain_restored = None
        kept_plain = False
        if settings.evaluations:
            finished = replace(objective, on_tile=None)
            restored, plain_restored = finished.psnr_of_file(lr), finished.psnr_of_file(plain_lr)
            # "not ≥" rather than "<": a NaN is worse than plain.
            kept_plain = settings.never_worse and sign > 0 and not restored >= plain_restored
        return Sample(
            lr=plain_lr if kept_plain else lr,
            plain_lr=plain_lr,
            collaborative_hr=collaborative_hr,
            lr_start=region.center,
            collaborative_lr=collaborative_lr,
            kept_plain=kept_plain,
            psnr=plain_restored if kept_plain else restored,
            plain_psnr=plain_restored,
        )

    def _hr_stage(self, index: int, hr: Tensor, objective: Reconstruction, generator: torch.Generator) -> Tensor:
        """The collaborative HR sample; the original where the stage is skipped."""
        settings = self.settings

        def value(sample: Tensor) -> Tensor:
            lr = objective.model.downscale(sample)
            return objective.from_lr(quantize(lr) if settings.round_hr else lr)

        region = Region(center=hr, norm=settings.norm, epsilon=settings.epsilon_hr)
        return self._descend(index, "hr", settings.steps_hr, value, region, objective, generator)

    def _lr_stage(self, index: int, region: Region, objective: Reconstruction, generator: torch.Generator) -> Tensor:
        """The collaborative LR sample, before the last rounding."""
        settings = self.settings

        def value(sample: Tensor) -> Tensor:
            return objective.from_lr(quantize(sample) if settings.round_lr else sample)

        return self._descend(index, "lr", settings.steps_lr, value, region, objective, generator)

    def _lr_region(self, lr_start: Tensor, plain_lr: Tensor) -> Region:
        """The ball around the start of the LR stage, cut by ``max_change``; the start is moved into that first."""
        settings = self.settings
        if settings.max_change is None:
            return Region(center=lr_start, norm=settings.norm, epsilon=settings.epsilon_lr)
        change = settings.max_change / 255
        low, high = (plain_lr - change).clamp(min=0), (plain_lr + change).clamp(max=1)
        center = lr_start.clamp(low, high)
        return Region(center=center, norm=settings.norm, epsilon=settings.epsilon_lr, low=low, high=high)

    def _descend(
        self,
        index: int,
        stage: str,
        steps: int,
        value: Callable[[Tensor], Tensor],
        region: Region,
        objective: Reconstruction,
        generator: torch.Generator,
    ) -> Tensor:
        if steps == 0:
            return region.center

        def record(step: int, loss: float) -> bool:
            reached, seconds = objective.psnr(loss), time.monotonic() - self.started
            entry = Evaluation(picture=index, stage=stage, step=step, loss=loss, psnr=reached, seconds=seconds)
            self.history.append(entry)
            if self.on_evaluation is not None:
                self.on_evaluation(entry)
            return reached >= self.settings.target_psnr or self._should_stop()

        return descend(
            value,
            region.random_point(generator) if self.settings.random_start else region.center,
            rule=self.settings.rule,
            project=region.project,
            evaluations=steps,
            keep=self.settings.keep,
            on_evaluation=record,
        ).x

    def _should_stop(self) -> bool:
        return time.monotonic() - self.started >= self.settings.max_seconds or self.stop()

    def _at_tile(self, number: int, tiles: int) -> None:
        if self.on_tile is not None:
            self.on_tile(number, tiles)
        if self._should_stop():
            raise Stopped
