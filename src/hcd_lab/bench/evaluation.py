"""One gradient evaluation, and one upscaling, against the plain transcription: seconds and memory, in one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

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
from hcd_lab.bench.benchmark_model import build_subject, check_blocks, describe_machine, in_fresh_process
from hcd_lab.bench.transcription import Transcription

STAGES = ("lr", "hr", "upscale")
_PRECISIONS = ("float32", "bfloat16")
_SEED = 0
# Of the memory that is free, what the transcription may be expected to take and is still run.
_SHARE = 0.7
_MEASURABLE = 2**20
_PLAIN = "transcription"
# HR pixels a side of the part whose convolutions are run by themselves.
_PART = 512


@dataclass(frozen=True, kw_only=True)
class EvaluationBenchmark:
    """What is measured.

    Attributes:
        sizes: height and width of the HR pictures, smallest first.
        blocks: couplings per level of an IRN with weights drawn from a seed, which costs what trained ones cost;
            the default is the published ×4 network.
        model: the name of a model with weights that is measured instead.
        stages: of ``lr`` and ``hr``, a gradient evaluation each, and ``upscale``.
        repeats: the shortest of so many runs counts, after one to warm up.
        threads: that PyTorch may use; None for as many as it takes by itself.
        memory: bytes that this implementation keeps to; None for most of what is free.
        plain: whether the transcription is run to compare with, where it fits into memory.
        precisions: that gradients are computed in, one row each; what this machine does not have is left out.
        device: where networks run; on a GPU, memory is what tensors take there, and CPU time means little.

    Raises:
        UsageError: an unknown stage or precision, no size, no repeats, or a side that is below the scale.
    """

    sizes: tuple[tuple[int, int], ...] = ((256, 256), (512, 512))
    blocks: tuple[int, ...] = (8, 8)
    model: str | None = None
    stages: tuple[str, ...] = STAGES
    repeats: int = 3
    threads: int | None = None
    memory: int | None = None
    plain: bool = True
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            raise UsageError(f"stages {', '.join(self.stages)}: use some of {', '.join(STAGES)}")
        if not self.sizes or min(map(min, self.sizes)) < 1 << len(self.blocks):
            raise UsageError(f"sizes {self.sizes}: need one or more, with sides of at least {1 << len(self.blocks)}")
        unknown = [precision for precision in self.precisions if precision not in _PRECISIONS]
        if unknown or not self.precisions:
            raise UsageError(f"precisions {', '.join(self.precisions)}: use some of {', '.join(_PRECISIONS)}")
        if self.repeats < 1:
            raise UsageError(f"repeats {self.repeats}: must be 1 or more")
        check_blocks(self.blocks)

    def build(self) -> Rescaler:
        """The model that is measured."""
        return build_subject(self.blocks, self.model, self.device)


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """What one stage cost on one size; None where the transcription was not run.

    Attributes:
        stage, precision, height, width: what was measured, HR pixels.
        seconds, cpu_seconds: on the clock, and of all threads together.
        reference_seconds, plain_cpu_seconds: the same of the transcription, measured in turn.
        peak_bytes: taken beside model and pictures, in a process of its own.
        plain_peak_bytes: the same of the transcription.
        convolution_seconds, convolution_cpu_seconds: of the same convolutions by themselves, in float32.
        convolution_flops: their operations, computed directly.
    """

    stage: str
    precision: str
    height: int
    width: int
    seconds: float
    cpu_seconds: float
    reference_seconds: float | None
    plain_cpu_seconds: float | None
    peak_bytes: int
    plain_peak_bytes: int | None
    convolution_seconds: float
    convolution_cpu_seconds: float
    convolution_flops: int

    @property
    def megapixels(self) -> float:
        return self.height * self.width / 1e6

    @property
    def faster(self) -> float | None:
        """Seconds of the transcription over seconds of this implementation."""
        return None if self.reference_seconds is None else self.reference_seconds / self.seconds

    @property
    def faster_cpu(self) -> float | None:
        """The same by the time that the cores spent, which other work beside it stretches less."""
        return None if self.plain_cpu_seconds is None else self.plain_cpu_seconds / self.cpu_seconds

    @property
    def smaller(self) -> float | None:
        """Memory of the transcription over memory of this implementation."""
        if self.plain_peak_bytes is None or self.peak_bytes < _MEASURABLE:
            return None
        return self.plain_peak_bytes / self.peak_bytes

    @property
    def convolution_share(self) -> float:
        """What the convolutions take by themselves over what everything takes: 1 is the peak of direct convolution."""
        return self.convolution_cpu_seconds / self.cpu_seconds

    def as_json(self) -> dict[str, Any]:
        """Attributes and ratios."""
        ratios = {
            "faster": self.faster,
            "faster_cpu": self.faster_cpu,
            "smaller": self.smaller,
            "convolution_share": self.convolution_share,
        }
        return asdict(self) | {"seconds_per_megapixel": self.seconds / self.megapixels} | ratios


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """All rows, and the machine that they were measured on.

    Attributes:
        model: its name.
        threads: that PyTorch used.
        device: where networks ran.
        rows: stages and sizes in the order they were asked for.
    """

    model: str
    threads: int
    device: str = "cpu"
    rows: list[EvaluationRow] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "model": self.model,
            "machine": describe_machine(self.threads, self.device),
            "rows": [row.as_json() for row in self.rows],
        }


def bench_evaluation(
    settings: EvaluationBenchmark, *, on_row: Callable[[EvaluationRow], None] = lambda row: None
) -> EvaluationReport:
    """Measure every stage on every size: all timings in turn in one process, every peak of memory in one of its own.

    Args:
        settings: what is measured.
        on_row: called with every row as it is done.
    """
    threads = settings.threads or torch.get_num_threads()
    report = EvaluationReport(model=settings.build().name, threads=threads, device=settings.device)
    for stage in settings.stages:
        density = 0.0  # bytes per pixel of the transcription, from the size before
        halves = stage != "upscale" and settings.device == "cpu" and has_bfloat16()
        precisions = [p for p in settings.precisions if stage != "upscale" and (p == "float32" or halves)]
        for height, width in settings.sizes:
            plain = settings.plain and density * height * width < _SHARE * _free(settings.device)
            ways = [*(precisions or ["float32"]), *([_PLAIN] if plain else [])]
            times, alone, operations = in_fresh_process(_time, settings, stage, height, width, ways)
            peaks = {way: in_fresh_process(_peak, settings, stage, height, width, way) for way in ways}
            density = peaks.get(_PLAIN, 0) / (height * width) or density
            for way in ways:
                if way == _PLAIN:
                    continue
                row = EvaluationRow(
                    stage=stage,
                    precision=way,
                    height=height,
                    width=width,
                    seconds=times[way].seconds,
                    cpu_seconds=times[way].cpu_seconds,
                    reference_seconds=times[_PLAIN].seconds if plain else None,
                    plain_cpu_seconds=times[_PLAIN].cpu_seconds if plain else None,
                    peak_bytes=peaks[way],
                    plain_peak_bytes=peaks.get(_PLAIN),
                    convolution_seconds=alone.seconds,
                    convolution_cpu_seconds=alone.cpu_seconds,
                    convolution_flops=operations,
                )
                report.rows.append(row)
                on_row(row)
    return report


def _free(device: str) -> int:
    """Bytes that could be taken."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_bytes()


def _prepare(settings: EvaluationBenchmark, height: int, width: int) -> tuple[Rescaler, Tensor, Tensor]:
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = settings.build()
    sides = tuple(-(-side // model.scale) * model.scale for side in (height, width))
    hr = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(_SEED)).to(settings.device)
    lr = quantize(nn.functional.avg_pool2d(hr, model.scale))
    return model, hr, lr


def _run(
    settings: EvaluationBenchmark, model: Rescaler, stage: str, hr: Tensor, lr: Tensor, way: str
) -> Callable[[], object]:
    """One evaluation of a stage: of the transcription, or of this implementation in a precision."""
    if way == _PLAIN:
        transcription = Transcription(model)
        return {
            "lr": lambda: transcription.lr_gradient(lr, hr),
            "hr": lambda: transcription.hr_gradient(hr, hr),
            "upscale": torch.no_grad()(lambda: transcription.upscale(lr)),
        }[stage]
    if stage == "upscale":
        receiver = fit_upscaling(lr, model, memory=settings.memory)
        return torch.inference_mode()(lambda: receiver.upscale(lr))
    fitted = fit_solving(hr, model, steps_hr=int(stage == "hr"), steps_lr=1, memory=settings.memory)
    objective = Reconstruction(hr=hr, model=fitted)

    def evaluate() -> Tensor:
        sample = (hr if stage == "hr" else lr).clone().requires_grad_()
        with gradient_precision(way):
            value = objective.from_lr(quantize(fitted.downscale(sample)) if stage == "hr" else sample)
            return torch.autograd.grad(value, sample)[0]

    return evaluate


def _time(
    settings: EvaluationBenchmark, stage: str, height: int, width: int, ways: list[str]
) -> tuple[dict[str, machine.Timing], machine.Timing, int]:
    """Of every way; of the convolutions by themselves; and the operations of these."""
    model, hr, lr = _prepare(settings, height, width)
    runs = {way: _run(settings, model, stage, hr, lr, way) for way in ways}
    times = machine.time_in_turn(runs, repeats=settings.repeats, device=settings.device)
    share, shapes = _convolutions(model, stage, *hr.shape[-2:])
    alone = machine.convolution_timing(shapes, repeats=settings.repeats, device=settings.device)
    whole = machine.Timing(seconds=alone.seconds / share, cpu_seconds=alone.cpu_seconds / share)
    return times, whole, round(machine.flops(shapes) / share)


def _convolutions(model: Rescaler, stage: str, height: int, width: int) -> tuple[float, Counter[machine.ConvShape]]:
    """The convolutions of a stage on a part of the picture, and that part's share of it: they cost alike anywhere."""
    side = min(height, width, _PART)
    plain = Transcription(model).to("meta")
    hr = torch.empty(1, 3, side, side, device="meta")

    def run() -> None:
        plain.upscale(plain.downscale(hr) if stage == "hr" else hr[..., :: plain.scale, :: plain.scale])

    shapes = machine.convolutions_of(run, plain)
    return side**2 / (height * width), shapes if stage == "upscale" else machine.with_input_gradients(shapes)


def _peak(settings: EvaluationBenchmark, stage: str, height: int, width: int, way: str) -> int:
    model, hr, lr = _prepare(settings, height, width)

    def run(hr: Tensor, lr: Tensor) -> None:
        evaluate = _run(settings, model, stage, hr, lr, way)
        for _ in range(2):  # what the first leaves behind is there when the second runs, as in a descent
            evaluate()

    # What a process loads at first use, and what is made of weights, counts for neither.
    run(hr[..., : 16 * model.scale, : 16 * model.scale], lr[..., :16, :16])
    before = machine.peak_bytes(settings.device)
    run(hr, lr)
    return machine.peak_bytes(settings.device) - before
