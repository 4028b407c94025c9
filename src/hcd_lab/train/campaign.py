"""Campaigns: a given time on whatever device there is, spent on the shipped weights that need it most."""

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

_HELD_OUT = 50  # every so many pictures, one is kept to validate on
# Shares of the time for checkpoints, validation and slower parts of the run, and for compiling every phase.
_RESERVE, _COMPILING = 0.06, 0.1
# Into so many spans of its moving average a run is divided: what that holds at the end are weights of the end.
_AVERAGED = 20
# Smaller batches than these leave gradients too noisy to improve weights that are trained already.
_BATCHES = {"cpu": (0.25, 0.5), "cuda": (1, 2, 4)}  # times the recipe's


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a campaign has decided to do.

    Attributes:
        recipe: with steps, batches, learning rate, warm-up and moving average fitted to the time.
        execution: the fastest way of running on this device.
        pixels_per_second: as measured for it.
        share_of_peak: operations per second, of those that a large matrix product reaches here.
    """

    recipe: Recipe
    execution: Execution
    pixels_per_second: float
    share_of_peak: float


def least_trained() -> str:
    """The recipe whose shipped weights have seen the smallest share of the published training so far.

    Its own weights count, else those that it would grow from. A network without any is begun only where nothing else
    is there, or on request: in the time of a campaign it would not get anywhere.
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

    It goes on from the weights that ship under the recipe's name, else from the recipe's start. Patches, their
    shares of the run and the loss are the recipe's; the batch is the smallest one that keeps the device busy. The
    highest learning rate is lowered for a run that is short beside what the weights have seen: a trained network
    that is restarted at full rate first loses what it knew. One that has levels to learn anew keeps the full rate.
    Warm-up and moving average are parts of the run, where the recipe's would be longer.

    Args:
        name: of a shipped recipe.
        seconds: for training itself.
        device: as PyTorch names it.
        report: takes one line per way of running that was measured.

    Raises:
        UsageError: no such recipe.
        TrainingError: nothing runs on the device, or the time does not suffice for one step.
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
    """Carry out a plan, or go on with it: the plan is kept in ``out``, and a plan found there comes first.

    Args:
        files: pictures to train on; every 50th is held out for validation unless others are given.
        out: folder for the plan, the log (``<name>.log.jsonl``), the checkpoint and the weights.
        plan: what to do, see :func:`make_plan`.
        time_limit: seconds for this call.
        validation_files: pictures to validate on.
        report: takes lines of text.
        on_step: as for :func:`train`.

    Returns:
        The weights.

    Raises:
        TrainingError: as for :func:`train`.
    """
    began = time.monotonic()
    recipe, device = plan.recipe, plan.execution.device
    checks = set(validation_files or files[:: min(_HELD_OUT, len(files))])
    if checks >= set(files):
        raise TrainingError(f"{len(files)} pictures: none is left to train on beside those to validate on; give more")
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
                # What a killed run had logged after its last checkpoint is done again.
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
    """Keep a plan, so that the next call goes on with it.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomically(path, (json.dumps(asdict(plan), indent=1) + "\n").encode())


def read_plan(path: Path, *, device: str) -> Plan:
    """A plan that was kept, for this device.

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
        raise TrainingError(f"{path}: is no plan of a campaign ({error}); move it away") from error


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
            f"{recipe.name}: {seconds:.0f} s do not suffice for one step of about "
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
