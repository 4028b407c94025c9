"""Hierarchical Collaborative Downscaling: the HR stage, the LR stage, one rounding, never worse than plain."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hcd.collab.objective import Reconstruction
from hcd.collab.settings import Settings, get_settings
from hcd.errors import ShapeError
from hcd.metrics import psnr
from hcd.ops import project_ball, quantize
from hcd.rescaler import Rescaler
from hcd.solver import Projection, Solution, descend


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One gradient evaluation.

    Attributes:
        picture: index in the batch.
        stage: ``hr`` or ``lr``.
        step: 1 for the first evaluation of the stage.
        loss: the objective (mean squared error over RGB, negative where it is maximized).
        psnr: PSNR over RGB that it stands for, in dB; in the LR stage before rounding unless that is in the loop.
        seconds: since ``collaborate`` was called.
    """

    picture: int
    stage: str
    step: int
    loss: float
    psnr: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What ``collaborate`` returns; every tensor is ``[N, 3, ·, ·]`` in [0, 1].

    Attributes:
        lr: the file's pixels, multiples of 1/255.
        plain_lr: the rescaler's own LR, rounded.
        collaborative_hr: the sample that the HR stage ended with; the original where the stage was skipped.
        lr_start: where the LR stage began, the center of its ball.
        collaborative_lr: the sample that the LR stage ended with, before the last rounding.
        kept_plain: per picture, whether the plain LR was returned because the sample did not improve on it.
        psnr, plain_psnr: per picture, PSNR over RGB in dB of the restored 8-bit picture, from ``lr`` and from
            ``plain_lr``; None where no stage ran, since nothing had to be restored.
        history: one entry per gradient evaluation.
        seconds: wall time of the whole call.
    """

    lr: Tensor
    plain_lr: Tensor
    collaborative_hr: Tensor
    lr_start: Tensor
    collaborative_lr: Tensor
    kept_plain: tuple[bool, ...]
    psnr: tuple[float | None, ...]
    plain_psnr: tuple[float | None, ...]
    history: tuple[Evaluation, ...]
    seconds: float

    @property
    def grad_evals(self) -> int:
        """Gradient evaluations spent on all pictures together."""
        return len(self.history)


def collaborate(
    hr: Tensor,
    model: Rescaler,
    preset: str = "balanced",
    *,
    on_evaluation: Callable[[Evaluation], None] | None = None,
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
        on_evaluation: called after every gradient evaluation.
        **settings: any field of :class:`Settings`, replacing the preset's.

    Returns:
        A :class:`Result`; deterministic for the same input, settings and machine (unless ``max_seconds``
        cuts it short).

    Raises:
        ShapeError: not a floating point ``[N, 3, H, W]`` tensor, or values outside [0, 1].
        UsageError: unknown preset or setting.

    Source: Xu et al., "Hierarchical Collaborative Downscaling", ICCV 2023 (arXiv 2211.10643), algorithm 1.
    """
    configured = get_settings(preset, **settings)
    _check(hr)
    run = _Run(model, configured, on_evaluation, time.monotonic())
    solved = [run.solve(index, hr[index : index + 1]) for index in range(len(hr))]
    return Result(
        lr=torch.cat([one.lr for one in solved]),
        plain_lr=torch.cat([one.plain_lr for one in solved]),
        collaborative_hr=torch.cat([one.collaborative_hr for one in solved]),
        lr_start=torch.cat([one.lr_start for one in solved]),
        collaborative_lr=torch.cat([one.collaborative_lr for one in solved]),
        kept_plain=tuple(one.kept_plain for one in solved),
        psnr=tuple(one.psnr for one in solved),
        plain_psnr=tuple(one.plain_psnr for one in solved),
        history=tuple(run.history),
        seconds=time.monotonic() - run.started,
    )


def _check(hr: Tensor) -> None:
    if hr.ndim != 4 or hr.shape[1] != 3 or min(hr.shape) < 1 or not hr.is_floating_point():
        raise ShapeError(
            f"collaborate: got {hr.dtype} of shape {tuple(hr.shape)}, needs floating point [N, 3, H, W] "
            "with every size at least 1"
        )
    low, high = float(hr.min()), float(hr.max())
    if not (low >= 0 and high <= 1):
        raise ShapeError(f"collaborate: got values from {low:g} to {high:g}, needs RGB in [0, 1]; divide by 255 first?")


@dataclass(frozen=True, kw_only=True)
class _Solved:
    """The fields of :class:`Result` for one picture."""

    lr: Tensor
    plain_lr: Tensor
    collaborative_hr: Tensor
    lr_start: Tensor
    collaborative_lr: Tensor
    kept_plain: bool
    psnr: float | None
    plain_psnr: float | None


@dataclass
class _Run:
    """One call of ``collaborate``: what its pictures and stages share."""

    model: Rescaler
    settings: Settings
    on_evaluation: Callable[[Evaluation], None] | None
    started: float
    history: list[Evaluation] = field(default_factory=list)

    @torch.no_grad()
    def solve(self, index: int, hr: Tensor) -> _Solved:
        settings = self.settings
        sign = -1 if settings.direction == "adversarial" else 1
        objective = Reconstruction(hr=hr.detach(), model=self.model, sign=sign)
        plain_lr = quantize(self.model.downscale(hr))
        generator = torch.Generator().manual_seed(settings.seed)

        collaborative_hr = self._hr_stage(index, hr, objective, generator)
        lr_start = quantize(self.model.downscale(collaborative_hr)) if settings.steps_hr else plain_lr
        lr_start, collaborative_lr = self._lr_stage(index, lr_start, plain_lr, objective, generator)
        lr = quantize(collaborative_lr)

        restored = plain_restored = None
        kept_plain = False
        if settings.steps_hr or settings.steps_lr:
            restored, plain_restored = self._restored_psnr(lr, hr), self._restored_psnr(plain_lr, hr)
            # "not ≥" rather than "<": a NaN is worse than plain.
            kept_plain = settings.never_worse and sign > 0 and not restored >= plain_restored
        return _Solved(
            lr=plain_lr if kept_plain else lr,
            plain_lr=plain_lr,
            collaborative_hr=collaborative_hr,
            lr_start=lr_start,
            collaborative_lr=collaborative_lr,
            kept_plain=kept_plain,
            psnr=plain_restored if kept_plain else restored,
            plain_psnr=plain_restored,
        )

    def _hr_stage(self, index: int, hr: Tensor, objective: Reconstruction, generator: torch.Generator) -> Tensor:
        def value(sample: Tensor) -> Tensor:
            lr = self.model.downscale(sample)
            return objective.from_lr(quantize(lr) if self.settings.round_hr else lr)

        settings = self.settings
        project = _ball_and_box(hr, settings.norm, settings.epsilon_hr)
        return self._stage(
            index, "hr", settings.steps_hr, value, hr, settings.epsilon_hr, project, objective, generator
        )

    def _lr_stage(
        self, index: int, start: Tensor, plain_lr: Tensor, objective: Reconstruction, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Where the stage began, which is the center of its ball, and its sample."""

        def value(sample: Tensor) -> Tensor:
            return objective.from_lr(quantize(sample) if self.settings.round_lr else sample)

        settings = self.settings
        low, high = torch.zeros_like(plain_lr), torch.ones_like(plain_lr)
        if settings.max_change is not None:
            change = settings.max_change / 255
            low, high = (plain_lr - change).clamp(min=0), (plain_lr + change).clamp(max=1)
            start = start.clamp(low, high)
        project = _ball_and_box(start, settings.norm, settings.epsilon_lr, low, high)
        epsilon = settings.epsilon_lr
        return start, self._stage(index, "lr", settings.steps_lr, value, start, epsilon, project, objective, generator)

    def _stage(
        self,
        index: int,
        stage: str,
        steps: int,
        value: Callable[[Tensor], Tensor],
        center: Tensor,
        epsilon: float,
        project: Projection,
        objective: Reconstruction,
        generator: torch.Generator,
    ) -> Tensor:
        if steps == 0:
            return center

        def record(step: int, loss: float) -> bool:
            reached, seconds = objective.psnr(loss), time.monotonic() - self.started
            entry = Evaluation(picture=index, stage=stage, step=step, loss=loss, psnr=reached, seconds=seconds)
            self.history.append(entry)
            if self.on_evaluation is not None:
                self.on_evaluation(entry)
            return reached >= self.settings.target_psnr or seconds >= self.settings.max_seconds

        start = center + _random_in_ball(center, epsilon, generator) if self.settings.random_start else center
        solution: Solution = descend(
            value,
            start,
            rule=self.settings.rule,
            project=project,
            evaluations=steps,
            keep=self.settings.keep,
            on_evaluation=record,
        )
        return solution.x

    def _restored_psnr(self, lr: Tensor, hr: Tensor) -> float:
        hr_hat = quantize(self.model.upscale(lr))[..., : hr.shape[-2], : hr.shape[-1]]
        return psnr(hr_hat, hr, channel="rgb")


def _ball_and_box(
    center: Tensor, norm: str, epsilon: float, low: Tensor | float = 0.0, high: Tensor | float = 1.0
) -> Projection:
    """Projection onto the ball around ``center``, then onto the box.

    The center lies in the box, so the second projection only shortens the perturbation.
    """

    def project(x: Tensor) -> Tensor:
        inside = center + project_ball(x - center, norm, epsilon)
        return torch.minimum(torch.maximum(inside, torch.as_tensor(low).to(inside)), torch.as_tensor(high).to(inside))

    return project


def _random_in_ball(center: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """A point of the l2 ball of that radius: normal direction, uniform radius."""
    direction = torch.randn(center.shape, generator=generator).to(center)
    radius = float(torch.rand((), generator=generator)) * epsilon
    return direction * (radius / math.sqrt(float(direction.square().sum())))
