"""Campaigns: spend a given time on this device on the shipped weights that need it most."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hcd.errors import TrainingError
from hcd.files import write_atomically
from hcd.zoo import get_entry
from hcd_lab.train.loop import Progress, train
from hcd_lab.train.networks import trained_pixels
from hcd_lab.train.patches import Patches
from hcd_lab.train.recipe import Recipe, get_recipe, parse_recipe, recipe_names
from hcd_lab.train.speed import Speed, fastest, flops_per_pixel, matrix_peak
from hcd_lab.train.step import Execution
from hcd_lab.train.validation import Validation

_HELD_OUT = 50  # one picture of this number is held out for validation
# Shares of the time reserved for checkpoints and validation, and for compiling.
_RESERVE, _COMPILING = 0.06, 0.1
# Time constants of the moving average in a run, so that it averages the end of the run only.
_AVERAGED = 20
# With smaller batches, gradients are too noisy to improve trained weights.
_BATCHES = {"cpu": (0.25, 0.5), "cuda": (1, 2, 4)}  # times the recipe's


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of a campaign.

    Attributes:
        recipe: steps, batches, learning rate, warm-up and moving average are fitted to the time.
        execution: the fastest one on this device.
        pixels_per_second: measured training speed.
        share_of_peak: operations per second over those of a large matrix product.
    """

    recipe: Recipe
    execution: Execution
    pixels_per_second: float
    share_of_peak: float


def least_trained() -> str:
    """Return the recipe whose shipped weights have seen the smallest share of the published training.

    The weights of a recipe are its own, else those that it grows from. A recipe without any is only chosen if there is
    no other, since a campaign is too short to train from random weights.
    """
    shares = {}
    for recipe in map(get_recipe, recipe_names()):
        if recipe.published_pixels:
            seen = trained_pixels(recipe.name) or trained_pixels(recipe.start)
            shares[recipe.name] = seen / recipe.published_pixels
    begun = {name: share for name, share in shares.items() if share} or shares
    return min(begun, key=lambda name: begun[name])


def make_plan(name: str, *, seconds: float, device: str, report: Callable[[str], None]) -> Plan:
    """Fit a recipe to a time on a device.

    Training starts from the shipped weights of the recipe's name, else from the recipe's start. The batch is the
    smallest one that keeps the device busy. The peak learning rate is lowered if the run is short compared with the
    training of the weights so far, since a full-rate restart first degrades a trained network; a network with new
    levels keeps the full rate. Warm-up and moving average are shortened with the run.

    Args:
        name: a shipped recipe.
        seconds: time for training itself.
        device: name of a PyTorch device.
        report: takes one line per measured execution.

    Raises:
        UsageError: no such recipe.
        TrainingError: nothing runs on the device, or the time is too short for one step.
    """
    recipe = get_recipe(name)
    if get_entry(name).weights_file is not None:
        recipe = replace(recipe, start=name)
    kind = device.split(":")[0]
    first = recipe.phases[0].batch
    batches = tuple(max(1, round(n * first)) for n in _BATCHES.get(kind, (1,)))
    speed = fastest(recipe, device, batches=batches, report=report)
    return _fit(recipe, speed, seconds, matrix_peak(device))


def run_campaign(
    files: Sequence[Path],
    out: Path,
    *,
    plan: Plan,
    time_limit: float = math.inf,
    validation_files: Sequence[Path] = (),
    report: Callable[[str], None] = lambda line: None,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Carry out a plan, or resume it.

    Args:
        files: training pictures; every 50th is held out for validation unless ``validation_files`` are given.
        out: folder of the log (``<name>.log.jsonl``), the checkpoint and the weights.
        plan: from :func:`make_plan`.
        time_limit: seconds for this call.
        validation_files: validation pictures.
        report: takes lines of text.
        on_step: see :func:`train`.

    Returns:
        The path of the weights.

    Raises:
        TrainingError: as for :func:`train`.
    """
    began = time.monotonic()
    recipe, device = plan.recipe, plan.execution.device
    checks = set(validation_files or files[:: min(_HELD_OUT, len(files))])
    if checks >= set(files):
        raise TrainingError(
            f"{len(files)} pictures: no training picture is left beside those for validation; give more"
        )
    patches = Patches(
        [file for file in files if file not in checks],
        scale=recipe.scale,
        smallest=recipe.largest_patch,
        device=device,
    )
    validation = Validation(sorted(checks), scale=recipe.scale, device=device)
    report(f"{len(patches)} pictures on {device} after {time.monotonic() - began:.0f} s")
    log = out / f"{recipe.name}.log.jsonl"
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    last = -math.inf

    def record(progress: Progress) -> None:
        nonlocal last
        if progress.seconds - last > 10 or progress.step == progress.steps:
            if last < 0:
                # Steps that a killed run logged after its last checkpoint are repeated.
                lines[:] = [line for line in lines if json.loads(line)["step"] < progress.step]
            last = progress.seconds
            facts = {key: value if math.isfinite(value) else None for key, value in asdict(progress).items()}
            lines.append(json.dumps(facts))
            write_atomically(log, "".join(f"{line}\n" for line in lines).encode())
        if on_step is not None:
            on_step(progress)

    return train(
        recipe,
        patches,
        out,
        execution=plan.execution,
        validation=validation,
        time_limit=time_limit - (time.monotonic() - began),
        on_step=record,
    )


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan, so that the next call resumes it.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomically(path, (json.dumps(asdict(plan), indent=1) + "\n").encode())


def read_plan(path: Path, *, device: str) -> Plan:
    """Read a plan, for this device.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))
        recipe = parse_recipe(entries.pop("recipe"), origin=str(path))
        flags = {name: _flag(value) for name, value in entries.pop("execution").items() if name != "device"}
        numbers = {name: float(value) for name, value in entries.items()}
        return Plan(recipe=recipe, execution=Execution(device=device, **flags), **numbers)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise TrainingError(f"{path}: not a plan of a campaign ({error}); move it away") from error


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _fit(recipe: Recipe, speed: Speed, seconds: float, peak: float) -> Plan:
    factor = speed.phase.batch / recipe.phases[0].batch
    phases = tuple(replace(phase, batch=max(1, round(phase.batch * factor))) for phase in recipe.phases)
    per_step = sum(phase.share * phase.batch * phase.patch**2 for phase in phases)
    reserve = _RESERVE + _COMPILING * speed.execution.compiled
    steps = int((1 - reserve) * seconds * speed.pixels_per_second / per_step)
    if steps < 1:
        raise TrainingError(
            f"{recipe.name}: {seconds:.0f} s are too short for one step of about "
            f"{per_step / speed.pixels_per_second:.0f} s; give more time"
        )
    same_scale = bool(recipe.start) and get_entry(recipe.start).scale == recipe.scale
    seen = trained_pixels(recipe.start) if same_scale else 0
    freshness = min(1.0, steps * per_step / seen) if seen else 1.0
    return Plan(
        recipe=replace(
            recipe,
            phases=phases,
            steps=steps,
            learning_rate=recipe.learning_rate * freshness,
            warmup_steps=max(1, min(recipe.warmup_steps, steps // 10)),
            ema_decay=min(recipe.ema_decay, max(0.0, 1 - _AVERAGED / steps)),
        ),
        execution=speed.execution,
        pixels_per_second=speed.pixels_per_second,
        share_of_peak=speed.pixels_per_second * flops_per_pixel(recipe) / peak,
    )
