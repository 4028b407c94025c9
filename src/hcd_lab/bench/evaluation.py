"""Benchmark one gradient evaluation, and one upscaling, against the reference: seconds and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hcd.collab import fit_solving
from hcd.collab.objective import Reconstruction
from hcd.errors import UsageError
from hcd.memory import available_bytes, fit_upscaling
from hcd.nets.cpu.precision import gradient_precision, has_bfloat16
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd_lab.bench import machine
from hcd_lab.bench.benchmark_model import BenchmarkModel, in_fresh_process
from hcd_lab.bench.reference import Reference
from hcd_lab.bench.result import BenchResult, OnRow, Row, ratio

STAGES = ("lr", "hr", "upscale")
PRECISIONS = ("float32", "bfloat16")
_SEED = 0
# Share of the free memory that the reference may be expected to take and is still run.
_SHARE = 0.7
# Peaks below this are noise, so no ratio is taken of them.
_MEASURABLE = 2**20
_REFERENCE = "reference"
# HR pixels a side of the crop whose convolutions are timed in isolation.
_CROP = 512


@dataclass(frozen=True, kw_only=True)
class EvaluationBenchmark:
    """Configuration of the benchmark of single evaluations.

    Attributes:
        model: the model, and how it runs.
        sizes: height and width of the HR images, smallest first.
        stages: any of ``lr`` and ``hr``, a gradient evaluation each, and ``upscale``.
        repeats: number of runs, of which the shortest counts, after one to warm up.
        reference: also run the reference implementation, where it fits into memory.
        precisions: precisions of gradients, one row each; those that this machine lacks are left out.

    Raises:
        UsageError: an unknown stage or precision, no size, no repeats, or a side that is below the scale.
    """

    model: BenchmarkModel = field(default_factory=BenchmarkModel)
    sizes: tuple[tuple[int, int], ...] = ((256, 256), (512, 512))
    stages: tuple[str, ...] = STAGES
    repeats: int = 3
    reference: bool = True
    precisions: tuple[str, ...] = PRECISIONS

    def __post_init__(self) -> None:
        for kind, names, known in (("stages", self.stages, STAGES), ("precisions", self.precisions, PRECISIONS)):
            if not names or not set(names) <= set(known):
                raise UsageError(f"{kind} {', '.join(names)}: use some of {', '.join(known)}")
        self.model.check_sizes(self.sizes)
        if self.repeats < 1:
            raise UsageError(f"repeats {self.repeats}: must be 1 or more")


def bench_evaluation(settings: EvaluationBenchmark, *, on_row: OnRow = lambda row: None) -> BenchResult:
    """Measure every stage on every size: times in turn in one process, each peak of memory in a fresh one.

    Args:
        settings: configuration of the benchmark.
        on_row: called with each row.

    Returns:
        Rows with the fields

        - ``model``, ``stage``, ``precision``, ``height``, ``width``: what was measured, HR pixels;
        - ``seconds``, ``cpu_seconds``: by the clock, and over all threads; ``seconds_per_megapixel``;
        - ``peak_bytes``: memory beside the model and the images;
        - ``reference_…``: the same of the reference; None where it was not run;
        - ``faster``, ``faster_cpu``, ``smaller``: the reference's over these;
        - ``convolution_seconds``, ``convolution_cpu_seconds``, ``convolution_flops``: the same convolutions in
          isolation, direct and in float32;
        - ``convolution_share``: their CPU time over that of everything: 1 is the peak of direct convolution.
    """
    name, device = settings.model.build().name, settings.model.device
    rows: list[Row] = []
    for stage in settings.stages:
        density = 0.0  # bytes per pixel of the reference, from the size before
        halves = stage != "upscale" and device == "cpu" and has_bfloat16()
        precisions = [p for p in settings.precisions if stage != "upscale" and (p == "float32" or halves)]
        for height, width in settings.sizes:
            pixels = height * width
            fits = settings.reference and density * pixels < _SHARE * _free(device)
            variants = [*(precisions or ["float32"]), *([_REFERENCE] if fits else [])]
            times, alone, operations = in_fresh_process(_time, settings, stage, height, width, variants)
            peaks = {variant: in_fresh_process(_peak, settings, stage, height, width, variant) for variant in variants}
            density = peaks.get(_REFERENCE, 0) / pixels or density
            reference_seconds, reference_cpu_seconds = machine.times_of(times.get(_REFERENCE))
            reference_bytes = peaks.get(_REFERENCE)
            for precision in variants[: len(variants) - fits]:
                time, peak = times[precision], peaks[precision]
                row: Row = {
                    "model": name,
                    "stage": stage,
                    "precision": precision,
                    "height": height,
                    "width": width,
                    "seconds": time.seconds,
                    "cpu_seconds": time.cpu_seconds,
                    "seconds_per_megapixel": time.seconds / (pixels / 1e6),
                    "peak_bytes": peak,
                    "reference_seconds": reference_seconds,
                    "reference_cpu_seconds": reference_cpu_seconds,
                    "reference_peak_bytes": reference_bytes,
                    "faster": ratio(reference_seconds, time.seconds),
                    "faster_cpu": ratio(reference_cpu_seconds, time.cpu_seconds),
                    "smaller": ratio(reference_bytes, peak if peak >= _MEASURABLE else None),
                    "convolution_seconds": alone.seconds,
                    "convolution_cpu_seconds": alone.cpu_seconds,
                    "convolution_flops": operations,
                    "convolution_share": alone.cpu_seconds / time.cpu_seconds,
                }
                rows.append(row)
                on_row(row)
    return BenchResult(benchmark="evaluation", machine=settings.model.machine(), rows=rows)


def _free(device: str) -> int:
    """Return the free memory in bytes."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_bytes()


def _prepare(settings: EvaluationBenchmark, height: int, width: int) -> tuple[Rescaler, Tensor, Tensor]:
    settings.model.set_threads()
    model = settings.model.build()
    sides = tuple(-(-side // model.scale) * model.scale for side in (height, width))
    hr = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(_SEED)).to(settings.model.device)
    lr = quantize(nn.functional.avg_pool2d(hr, model.scale))
    return model, hr, lr


def _run(
    settings: EvaluationBenchmark, model: Rescaler, stage: str, hr: Tensor, lr: Tensor, variant: str
) -> Callable[[], object]:
    """Return one evaluation of a stage, by the reference or in a precision."""
    if variant == _REFERENCE:
        reference = Reference(model)
        return {
            "lr": lambda: reference.lr_gradient(lr, hr),
            "hr": lambda: reference.hr_gradient(hr, hr),
            "upscale": torch.no_grad()(lambda: reference.upscale(lr)),
        }[stage]
    memory = settings.model.memory
    if stage == "upscale":
        receiver = fit_upscaling(lr, model, memory=memory)
        return torch.inference_mode()(lambda: receiver.upscale(lr))
    fitted = fit_solving(hr, model, steps_hr=int(stage == "hr"), steps_lr=1, memory=memory)
    objective = Reconstruction(hr=hr, model=fitted)

    def evaluate() -> Tensor:
        sample = (hr if stage == "hr" else lr).clone().requires_grad_()
        with gradient_precision(variant):
            value = objective.from_lr(quantize(fitted.downscale(sample)) if stage == "hr" else sample)
            return torch.autograd.grad(value, sample)[0]

    return evaluate


def _time(
    settings: EvaluationBenchmark, stage: str, height: int, width: int, variants: list[str]
) -> tuple[dict[str, machine.Timing], machine.Timing, int]:
    """Return the time of each variant, that of the convolutions in isolation, and the operations of these."""
    model, hr, lr = _prepare(settings, height, width)
    device = settings.model.device
    runs = {name: _run(settings, model, stage, hr, lr, name) for name in variants}
    times = machine.time_in_turn(runs, repeats=settings.repeats, device=device)
    share, shapes = _convolutions(model, stage, *hr.shape[-2:])
    alone = machine.convolution_timing(shapes, repeats=settings.repeats, device=device)
    total = machine.Timing(seconds=alone.seconds / share, cpu_seconds=alone.cpu_seconds / share)
    return times, total, round(machine.flops(shapes) / share)


def _convolutions(model: Rescaler, stage: str, height: int, width: int) -> tuple[float, Counter[machine.ConvShape]]:
    """Return the convolutions of a stage on a crop, and its share of the pixels, to which costs are proportional."""
    side = min(height, width, _CROP)
    reference = Reference(model).to("meta")
    hr = torch.empty(1, 3, side, side, device="meta")
    scale = reference.scale

    def run() -> None:
        reference.upscale(reference.downscale(hr) if stage == "hr" else hr[..., ::scale, ::scale])

    shapes = machine.convolutions_of(run, reference)
    return side**2 / (height * width), shapes if stage == "upscale" else machine.with_input_gradients(shapes)


def _peak(settings: EvaluationBenchmark, stage: str, height: int, width: int, variant: str) -> int:
    model, hr, lr = _prepare(settings, height, width)

    def run(hr: Tensor, lr: Tensor) -> None:
        evaluate = _run(settings, model, stage, hr, lr, variant)
        for _ in range(2):  # as in a descent, the second evaluation finds what the first one left allocated
            evaluate()

    # What a process allocates at first use, and caches of the weights, do not count.
    run(hr[..., : 16 * model.scale, : 16 * model.scale], lr[..., :16, :16])
    before = machine.peak_bytes(settings.model.device)
    run(hr, lr)
    return machine.peak_bytes(settings.model.device) - before
