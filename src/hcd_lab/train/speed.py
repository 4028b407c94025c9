"""Measure how fast a machine trains, and choose the fastest execution."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from hcd.errors import TrainingError
from hcd.nets.cpu.precision import has_bfloat16
from hcd_lab.train.networks import RoundTrip, build_network, compile_couplings
from hcd_lab.train.recipe import Phase, Recipe
from hcd_lab.train.step import Execution, Step, make_optimizer

_WARM_STEPS = {"cpu": 1, "cuda": 6}  # the first ones compile, capture and select algorithms
_TIMED_STEPS = {"cpu": 2, "cuda": 12}
# Larger batches mean fewer steps, so the smallest batch within this share of the highest speed is taken.
_CLOSE = 0.85


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The measured speed of one execution.

    Attributes:
        execution, phase: what was measured, with its batch and patch.
        pixels_per_second: HR pixels trained on.
        flops_per_second: operations of both passes and the gradient, counted in convolutions.
    """

    execution: Execution
    phase: Phase
    pixels_per_second: float
    flops_per_second: float


def fastest(
    recipe: Recipe, device: str, *, batches: tuple[int, ...] = (), report: Callable[[str], None] = lambda line: None
) -> Speed:
    """Try the executions of a device on patches of the recipe's first phase, and return the fastest.

    An execution that fails (no compiler, too little memory) is reported and left out.

    Args:
        recipe: recipe to train.
        device: name of a PyTorch device.
        batches: batch sizes to try, smallest first; empty for the batch size of the phase.
        report: takes one line per execution.

    Raises:
        TrainingError: no execution works.
    """
    flops = flops_per_pixel(recipe)

    def measure(execution: Execution, batch: int) -> list[Speed]:
        phase = replace(recipe.phases[0], batch=batch)
        what = f"{execution}, {batch} × {phase.patch}²"
        try:
            pixels = _pixels_per_second(recipe, execution, phase)
        except Exception as error:  # compilers and drivers raise anything; other executions remain
            report(f"{what}: does not work here ({(str(error).splitlines() or [type(error).__name__])[0][:200]})")
            return []
        report(f"{what}: {pixels / phase.patch**2:.1f} patches/s, {pixels * flops / 1e12:.3g} TFLOP/s")
        return [Speed(execution=execution, phase=phase, pixels_per_second=pixels, flops_per_second=pixels * flops)]

    sizes = batches or (recipe.phases[0].batch,)
    best = _smallest_fast(
        [speed for execution in _executions(device) for size in sizes for speed in measure(execution, size)]
    )
    if best is not None and torch.device(device).type == "cuda":
        # Tried once only, since compiling takes minutes.
        compiled = measure(replace(best.execution, compiled=True), best.phase.batch)
        best = max([best, *compiled], key=lambda speed: speed.pixels_per_second)
    if best is None:
        raise TrainingError(f"{recipe.name}: training does not run on device '{device}'; see the lines above")
    return best


def _smallest_fast(found: list[Speed]) -> Speed | None:
    if not found:
        return None
    best = max(speed.pixels_per_second for speed in found)
    close = [speed for speed in found if speed.pixels_per_second >= _CLOSE * best]
    least = min(speed.phase.batch for speed in close)
    return max((s for s in close if s.phase.batch == least), key=lambda speed: speed.pixels_per_second)


def flops_per_pixel(recipe: Recipe) -> float:
    """Return the floating point operations per HR pixel of one step: convolutions of both passes and the gradient."""
    # A share of latents below 1 shows in a whole batch only.
    count = 1 if recipe.latent_share == 1 else recipe.phases[0].batch
    hr = torch.rand(count, 3, 8 * recipe.scale, 8 * recipe.scale)
    round_trip = RoundTrip(build_network(recipe), recipe.latent_std, recipe.latent_share)
    with FlopCounterMode(display=False) as counter:
        _, latent, hr_hat = round_trip(hr)
        (hr_hat.sum() + latent).backward()
    return float(counter.get_total_flops() / (len(hr) * hr.shape[-1] * hr.shape[-2]))


def matrix_peak(device: str) -> float:
    """Return the operations per second of a large matrix product, in bfloat16 where the device has it."""
    on_cuda = torch.device(device).type == "cuda"
    dtype = torch.bfloat16 if on_cuda or has_bfloat16() else torch.float32
    side, repeats = (8192, 20) if on_cuda else (1536, 3)
    a = torch.rand(side, side, device=device).to(dtype)
    a @ a
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        a @ a
    _wait(device)
    return 2 * side**3 * repeats / (time.perf_counter() - start)


def _executions(device: str) -> Iterator[Execution]:
    if torch.device(device).type == "cpu":
        yield Execution(device=device)
        yield Execution(device=device, bfloat16=True)
        return
    for graph in (False, True):
        yield Execution(device=device, bfloat16=True, graph=graph)


def _pixels_per_second(recipe: Recipe, execution: Execution, phase: Phase) -> float:
    kind = "cuda" if torch.device(execution.device).type == "cuda" else "cpu"
    net = build_network(recipe)
    net.to(execution.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(recipe, net, execution)
    if execution.compiled:
        compile_couplings(net)
    take = Step(recipe, RoundTrip(net, recipe.latent_std, recipe.latent_share), optimizer, execution)
    hr = torch.rand(phase.batch, 3, phase.patch, phase.patch, device=execution.device)
    hr = hr.contiguous(memory_format=torch.channels_last)
    lr = torch.nn.functional.avg_pool2d(hr, recipe.scale)
    for _ in range(_WARM_STEPS[kind]):
        take(hr, lr, bfloat16=execution.bfloat16)
    _wait(execution.device)
    start = time.perf_counter()
    for _ in range(_TIMED_STEPS[kind]):
        take(hr, lr, bfloat16=execution.bfloat16)
    _wait(execution.device)
    return phase.batch * phase.patch**2 * _TIMED_STEPS[kind] / (time.perf_counter() - start)


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def prefers_bfloat16(recipe: Recipe, device: str) -> bool:
    """Return whether bfloat16 trains this recipe faster than float32: measured on a CPU, assumed on a GPU."""
    if torch.device(device).type == "cuda":
        return True
    phase = replace(recipe.phases[0], batch=1)
    slow, fast = (
        _pixels_per_second(recipe, Execution(device=device, bfloat16=bfloat16), phase) for bfloat16 in (False, True)
    )
    return fast > slow
