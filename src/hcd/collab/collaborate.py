"""Hierarchical Collaborative Downscaling: the HR stage, the LR stage, and the choice of the LR that is returned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Unpack

import torch
from torch import Tensor

from hcd.collab.choice import Choice
from hcd.collab.descent import Run, descend_stage
from hcd.collab.fit import fit_solving
from hcd.collab.objective import Reconstruction
from hcd.collab.region import Bounds
from hcd.collab.result import Evaluation, Result
from hcd.collab.settings import Changes, Settings, get_settings
from hcd.collab.stages import Sample, hr_stage, lr_stage
from hcd.collab.stored import Lossless, Stored
from hcd.errors import ShapeError
from hcd.ops import quantize
from hcd.rescaler import Rescaler


def collaborate(
    hr: Tensor,
    model: Rescaler,
    preset: str | Settings = "balanced",
    *,
    stored: Stored = Lossless(8),  # noqa: B008 - frozen
    memory: int | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **changes: Unpack[Changes],
) -> Result:
    """Downscale so that the model's own upscaling restores the original as well as possible.

    Minimizes a loss L over a perturbation of the HR input and then over one of the LR image, each inside a ball and
    with pixels in [0, 1]::

        HR stage   min L(U(Q(D(x + δ))), x)        y₀ = Q(D(x + δ))
        LR stage   min L(U(y₀ + δ), x)             LR = Q(y₀ + δ)

    Q is what the file keeps. If that is a lossy codec, the LR stage sees it too. By default L is half the squared error
    over RGB and half the squared error on luma. Neither the model nor the receiver changes.

    Args:
        hr: float ``[N, 3, H, W]``, RGB in [0, 1]; the images of a batch are solved one by one.
        model: a rescaler from ``hcd.load``.
        preset: ``plain``, ``paper``, ``fast``, ``balanced`` or ``best``, or a :class:`Settings` object.
        stored: what the LR file keeps: ``Lossless(8)``, ``Lossless(16)`` or ``Lossy(codec)`` of ``hcd.collab``.
        memory: bytes that the process, or on a GPU its tensors, may take; None for most of what is free. Images that
            do not fit are solved in tiles, which changes the result by less than rounding does.
        on_evaluation: called after every gradient evaluation.
        on_tile: called for every tile of an evaluation with its number, from 1 on, and the number of tiles.
        stop: called after every evaluation and every tile; if it returns true, the descent ends and the best sample so
            far is returned.
        **changes: any field of :class:`Settings`, replacing the preset's.

    Returns:
        A :class:`Result`. It is deterministic for the same input, settings, memory and machine, unless ``max_seconds``
        or ``stop`` ends it.

    Raises:
        ShapeError: not a floating point ``[N, 3, H, W]`` tensor, or values outside [0, 1].
        UsageError: unknown preset or setting.
        PictureTooLargeError: not even the smallest tiles fit into memory.

    Source: Xu et al., "Hierarchical Collaborative Downscaling", ICCV 2023 (arXiv 2211.10643), algorithm 1.
    """
    run = Run(settings=get_settings(preset, **changes), on_evaluation=on_evaluation, on_tile=on_tile, stop=stop)
    _check(hr)
    # The caller may be in inference mode, whose tensors cannot take part in autograd.
    with torch.inference_mode(False):
        # Nothing writes into the original, and the result has new tensors.
        hr = hr.detach().clone() if hr.is_inference() else hr.detach()
        parts = [_solve(index, hr[index : index + 1], model, stored, memory, run) for index in range(len(hr))]
    return Result.joined(parts, run.seconds)


@torch.no_grad()
def _solve(index: int, hr: Tensor, model: Rescaler, stored: Stored, memory: int | None, run: Run) -> Result:
    """Solve one image ``[1, 3, H, W]`` of a batch."""
    settings, begun = run.settings, len(run.history)
    model = fit_solving(
        hr, model, steps_hr=settings.steps_hr, steps_lr=settings.steps_lr, loss=settings.loss, memory=memory
    )
    plain = Sample(hr=hr, lr=quantize(model.downscale(hr), stored.levels))
    if not settings.evaluations:
        return Result(
            lr=plain.lr,
            plain_lr=plain.lr,
            collaborative_hr=hr,
            lr_start=plain.lr,
            collaborative_lr=plain.lr,
            kept_plain=(False,),
            psnr=(None,),
            plain_psnr=(None,),
            stops=("evaluations",),
            history=(),
            seconds=run.seconds,
        )
    objective = Reconstruction(
        hr=hr,
        model=model,
        loss=settings.loss,
        sign=-1 if settings.direction == "adversarial" else 1,
        levels=stored.levels,
        on_tile=run.begin_tile,
    )
    objective = replace(objective, penalty=stored.size_penalty(plain.lr, objective.file_loss))
    bounds = Bounds.around(plain.lr, max_change=settings.max_change, min_lr_psnr=settings.min_lr_psnr)
    choice = Choice(
        objective=objective, stored=stored, plain=plain, radius=bounds.radius, never_worse=settings.never_worse
    )
    generator = torch.Generator().manual_seed(settings.seed)

    kept = proposed = plain
    lr_start, stopped = plain.lr, "evaluations"
    if settings.steps_hr:
        stage = hr_stage(hr, model, stored, bounds, settings, generator)
        solution = descend_stage(stage, image=index, objective=objective, choice=choice, run=run)
        kept, proposed, stopped = stage.to_sample(solution.x), stage.to_sample(solution.candidate), solution.stopped
    if settings.steps_lr:
        stage = lr_stage(kept, stored, bounds, settings, generator)
        solution = descend_stage(stage, image=index, objective=objective, choice=choice, run=run)
        kept, proposed, stopped = stage.to_sample(solution.x), stage.to_sample(solution.candidate), solution.stopped
        lr_start = stage.region.center

    history = tuple(run.history[begun:])
    best_loss = min((entry.loss for entry in history), default=-math.inf)
    chosen = choice.choose(kept, proposed, keep=settings.keep, best_loss=best_loss)
    kept_plain = choice.is_refused(chosen)
    returned = choice.plain if kept_plain else chosen
    return Result(
        lr=returned.lr,
        plain_lr=plain.lr,
        collaborative_hr=chosen.sample.hr,
        lr_start=lr_start,
        collaborative_lr=chosen.sample.lr,
        kept_plain=(kept_plain,),
        psnr=(returned.psnr,),
        plain_psnr=(choice.plain.psnr,),
        stops=(stopped,),
        history=history,
        seconds=run.seconds,
    )


def _check(hr: Tensor) -> None:
    if hr.ndim != 4 or hr.shape[1] != 3 or min(hr.shape) < 1 or not hr.is_floating_point():
        raise ShapeError(
            f"collaborate: got {hr.dtype} of shape {tuple(hr.shape)}, needs floating point [N, 3, H, W] "
            "with every size at least 1"
        )
    low, high = float(hr.detach().min()), float(hr.detach().max())
    if not (low >= 0 and high <= 1):
        raise ShapeError(f"collaborate: got values from {low:g} to {high:g}, needs RGB in [0, 1]; divide by 255 first?")
