"""Hierarchical Collaborative Downscaling: the HR stage, the LR stage, one rounding, never worse than plain."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor

from hcd.collab.result import Evaluation, Result
from hcd.collab.settings import Changes, Settings, get_settings
from hcd.collab.stages import Run
from hcd.errors import ShapeError
from hcd.rescaler import Rescaler


def collaborate(
    hr: Tensor,
    model: Rescaler,
    preset: str | Settings = "balanced",
    *,
    memory: int | None = None,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **changes: Unpack[Changes],
) -> Result:
    """Downscale so that the model's own upscaling restores the original as well as possible.

    Solves, over a perturbation of the HR input and then over one of the LR picture, each inside a ball
    and with pixels in [0, 1], for a loss L, by default half the squared error over RGB and half that on luma::

        HR stage   min L(U(Q(D(x + δ))), x)        y₀ = Q(D(x + δ))
        LR stage   min L(U(y₀ + δ), x)             LR = Q(y₀ + δ)

    The model is left as it is, and so is the receiver: it upscales the LR as it would any other.

    Args:
        hr: float ``[N, 3, H, W]``, RGB in [0, 1]; each picture of the batch is solved by itself.
        model: a rescaler from ``hcd.load``.
        preset: ``plain``, ``paper``, ``fast``, ``balanced`` or ``best``, or settings of your own.
        memory: bytes that the process, or on a GPU its tensors, may take; None for most of what is free. What does
            not fit whole is solved in tiles, which changes results by less than rounding does.
        on_evaluation: called after every gradient evaluation.
        on_tile: called for every tile of an evaluation with its number, from 1 on, and the number of all.
        stop: asked after every evaluation and every tile; true ends the descent with the best found so far.
        **changes: any field of :class:`Settings`, replacing the preset's.

    Returns:
        A :class:`Result`; deterministic for the same input, settings, memory and machine (unless
        ``max_seconds`` or ``stop`` cuts it short).

    Raises:
        ShapeError: not a floating point ``[N, 3, H, W]`` tensor, or values outside [0, 1].
        UsageError: unknown preset or setting.
        PictureTooLargeError: not even the smallest tiles would fit into memory.

    Source: Xu et al., "Hierarchical Collaborative Downscaling", ICCV 2023 (arXiv 2211.10643), algorithm 1.
    """
    settings = get_settings(preset, **changes)
    _check(hr)
    # The caller may be in inference mode, whose tensors can take no part in a gradient.
    with torch.inference_mode(False):
        # Nothing writes into the original, and the result's tensors are new ones.
        hr = hr.detach().clone() if hr.is_inference() else hr.detach()
        run = Run(
            model=model,
            settings=settings,
            memory=memory,
            on_evaluation=on_evaluation,
            on_tile=on_tile,
            stop=stop or (lambda: False),
            started=time.monotonic(),
        )
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
