"""The training loop: batches by step number, EMA, atomic checkpoints, usable weights at any end."""

from __future__ import annotations

import copy
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hcd.errors import TrainingError, UsageError
from hcd.files import write_atomically
from hcd_lab.train.checkpoint import not_continued, read_checkpoint_state, weights_bytes, write_checkpoint
from hcd_lab.train.distributed import World
from hcd_lab.train.networks import RoundTrip, build_network, compile_couplings, initialize_from, trained_pixels
from hcd_lab.train.patches import Patches
from hcd_lab.train.recipe import Recipe
from hcd_lab.train.step import Execution, Measured, Step, learning_rate, make_optimizer
from hcd_lab.train.validation import Validation

_REPORT_EVERY = {"cpu": 1, "cuda": 25}  # steps; a report synchronizes with the device
_EXPLODED = 8.0  # smoothed loss over its minimum in this run
_SMOOTHING = 0.98


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State after a step.

    Attributes:
        step, steps: steps done, and all steps.
        loss: loss of the last batch.
        psnr, lr_psnr: PSNR of the last batch, of the restored HR, and of LR against bicubic; RGB, dB.
        validation_psnr: PSNR-Y of the EMA weights on the validation pictures, dB; NaN without any.
        seconds: duration of the run, including earlier calls.
        patches_per_second: speed of this call, over all devices.
        waiting: share of the time of this call in which the device waited for patches.
    """

    step: int
    steps: int
    loss: float
    psnr: float
    lr_psnr: float
    validation_psnr: float
    seconds: float
    patches_per_second: float
    waiting: float


def train(
    recipe: Recipe,
    patches: Patches,
    out: Path,
    *,
    execution: Execution | None = None,
    world: World | None = None,
    validation: Validation | None = None,
    time_limit: float = math.inf,
    checkpoint_every: float = 30.0,
    validate_every: float = 120.0,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train to the recipe's last step, or for ``time_limit`` seconds, and write the EMA weights.

    A checkpoint in ``out`` is resumed. Batches, latents and schedule depend on the step number only, so on the same
    machine a killed and resumed run ends with the same weights as an uninterrupted one.

    Args:
        recipe: network, schedule and loss.
        patches: training patches of the recipe's scale, on the device of ``execution``.
        out: folder of ``<recipe>.checkpoint.pt`` and ``<recipe>.safetensors``.
        execution: how steps run; a checkpoint keeps its own, but for the device.
        world: this process among several, each of which calls this function.
        validation: measures the EMA weights at the start, periodically, and at the end.
        time_limit: seconds for the steps of this call.
        checkpoint_every, validate_every: periods in seconds.
        on_step: called after every step, on a GPU after every 25th.

    Returns:
        ``out/<recipe>.safetensors``, the EMA weights in half precision.

    Raises:
        TrainingError: the loss is not finite or has exploded (names the last checkpoint), the checkpoint in ``out``
            cannot be resumed, or ``out`` is not a folder.
        UsageError: the patches are of another scale or too small, or the batch cannot be split evenly.
    """
    run = _Run(recipe, patches, out, execution or Execution(), world or World())
    if run.step >= recipe.steps and run.weights.exists():
        return run.weights
    run.go(time_limit, checkpoint_every, validate_every, validation, on_step or (lambda progress: None))
    return run.weights


class _Run:
    """The state of a run and its steps."""

    def __init__(self, recipe: Recipe, patches: Patches, out: Path, execution: Execution, world: World) -> None:
        _check(recipe, patches, world)
        self.recipe, self.patches, self.world = recipe, patches, world
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{out}: cannot be made a folder ({error.strerror}); choose another") from error
        self.checkpoint, self.weights = out / f"{recipe.name}.checkpoint.pt", out / f"{recipe.name}.safetensors"
        self.step, self.seconds, self.validation_psnr = 0, 0.0, math.nan
        state = None
        if self.checkpoint.exists():
            state = read_checkpoint_state(self.checkpoint, recipe, execution.device)
            execution = Execution(**{**state["execution"], "device": execution.device})
        self.execution = execution
        net = build_network(recipe)
        net.to(execution.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = net
        self.net.train()
        if state is None:
            phase = recipe.phase_at(0)
            initialize_from(net, *patches.batch(phase.batch, phase.patch, seed=recipe.seed, step=0))
        self.ema = copy.deepcopy(self.net).requires_grad_(False).eval()
        self.optimizer = make_optimizer(recipe, self.net, execution)
        if state is not None:
            self._restore(state)
        if execution.compiled:
            compile_couplings(self.net)
        part = (world.rank, world.size)
        self.round_trip = RoundTrip(self.net, recipe.latent_std, recipe.latent_share, part=part)
        self.take = Step(recipe, world.share(self.round_trip), self.optimizer, execution)

    def go(
        self,
        time_limit: float,
        checkpoint_every: float,
        validate_every: float,
        validation: Validation | None,
        on_step: Callable[[Progress], None],
    ) -> None:
        recipe, world = self.recipe, self.world
        device = torch.device(self.execution.device)
        report_every = _REPORT_EVERY.get(device.type, 1)
        before, start = self.seconds, time.monotonic()
        saved = validated = start
        patches_done, waited = 0, 0.0
        guard = _Guard(recipe.name, self.checkpoint)
        if validation is not None and world.leads:
            self.validation_psnr = validation(RoundTrip(self.ema, latent_share=0.0))
        ended = self.step >= recipe.steps or world.any(time_limit <= 0)
        while not ended:
            asked = time.monotonic()
            phase = recipe.phase_at(self.step)
            hr, bicubic = self.patches.batch(
                phase.batch, phase.patch, seed=recipe.seed, step=self.step, part=(world.rank, world.size)
            )
            waited += time.monotonic() - asked
            self._set_learning_rate(learning_rate(recipe, self.step))
            if recipe.latent_std:
                torch.manual_seed((recipe.seed * 1_000_003 + self.step) * world.size + world.rank)
            bfloat16 = self.execution.bfloat16 and self.step < recipe.bfloat16_share * recipe.steps
            measured = self.take(hr, bicubic, bfloat16=bfloat16)
            self.step += 1
            patches_done += phase.batch
            self._update_ema()
            last = self.step == recipe.steps
            if self.step % report_every and not last:
                continue
            loss = guard.check(measured, self.step - 1)
            now = time.monotonic()
            self.seconds = before + now - start
            ended = last or world.any(self.seconds - before >= time_limit)
            if validation is not None and world.leads and (ended or now - validated > validate_every):
                self.validation_psnr = validation(RoundTrip(self.ema, latent_share=0.0))
                validated = time.monotonic()
            if world.leads:
                elapsed = max(1e-9, now - start)
                on_step(
                    Progress(
                        step=self.step,
                        steps=recipe.steps,
                        loss=loss,
                        psnr=_decibels(measured.hr),
                        lr_psnr=_decibels(measured.lr),
                        validation_psnr=self.validation_psnr,
                        seconds=self.seconds,
                        patches_per_second=patches_done / elapsed,
                        waiting=waited / elapsed,
                    )
                )
            if time.monotonic() - saved > checkpoint_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write weights and checkpoint, in the leading process."""
        if not self.world.leads:
            return
        facts = {
            "steps": self.step,
            "seconds": round(self.seconds),
            "pixels": trained_pixels(self.recipe.start) + self.recipe.pixels(self.step),
            "machine": _machine(self.execution, self.world),
        }
        state: dict[str, Any] = {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        # Weights first, so that a checkpoint of the last step implies that its weights exist.
        write_atomically(self.weights, weights_bytes(self.ema, self.recipe, facts))
        write_checkpoint(self.checkpoint, state, self.recipe, self.execution)

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self.net.load_state_dict(state["net"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (RuntimeError, ValueError, LookupError, TypeError) as error:
            raise not_continued(self.checkpoint, self.recipe, error) from error

    def _set_learning_rate(self, value: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.recipe.ema_decay, self.step / (self.step + 10))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.net.parameters()), 1 - decay)


class _Guard:
    """Stops a run whose loss is not finite, or has exploded."""

    def __init__(self, name: str, checkpoint: Path) -> None:
        self._name, self._checkpoint = name, checkpoint
        self._smooth, self._lowest = math.nan, math.inf

    def check(self, measured: Measured, step: int) -> float:
        loss = float(measured.loss)
        self._smooth = loss if math.isnan(self._smooth) else _SMOOTHING * self._smooth + (1 - _SMOOTHING) * loss
        self._lowest = min(self._lowest, self._smooth)
        if math.isfinite(loss) and self._smooth <= _EXPLODED * self._lowest:
            return loss
        good = self._checkpoint if self._checkpoint.exists() else "none"
        how = f"loss {loss}" if not math.isfinite(loss) else f"loss exploded to {loss:.3g}"
        raise TrainingError(
            f"{self._name}: {how} at step {step}; last good checkpoint: {good}; lower the learning rate to go on"
        )


def _check(recipe: Recipe, patches: Patches, world: World) -> None:
    if patches.scale != recipe.scale:
        raise UsageError(f"recipe {recipe.name}: patches of scale {patches.scale}, needs {recipe.scale}")
    if patches.smallest < recipe.largest_patch:
        raise UsageError(
            f"recipe {recipe.name}: needs patches of {recipe.largest_patch}, the pictures allow {patches.smallest}"
        )
    for phase in recipe.phases:
        if phase.batch % world.size:
            raise UsageError(
                f"recipe {recipe.name}: a batch of {phase.batch} cannot be shared by {world.size} processes; "
                "start another number of them"
            )


def _decibels(error: torch.Tensor) -> float:
    value = float(error)
    return -10 * math.log10(value) if value > 0 else math.inf


def _machine(execution: Execution, world: World) -> str:
    if execution.device.startswith("cuda"):
        kind = torch.cuda.get_device_name(execution.device)
    else:
        kind = f"{platform.machine()}, {torch.get_num_threads()} threads"
    return kind if world.size == 1 else f"{world.size} × {kind}"
