"""One gradient evaluation, and one upscaling, against the plain transcription: seconds and memory, in one run."""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hcd.bench import machine
from hcd.bench.transcription import Transcription
from hcd.collab import fit_solving, fit_upscaling
from hcd.collab.objective import Reconstruction
from hcd.errors import UsageError
from hcd.nets import IRN
from hcd.ops import quantize
from hcd.rescaler import InvertibleRescaler, LatentPolicy, Rescaler
from hcd.zoo import load

STAGES = ("lr", "hr", "upscale")
_SEED = 0
# Of the memory that is free, what the transcription may be expected to take and is still run.
_SHARE = 0.7
_MEASURABLE = 2**20
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

    Raises:
        UsageError: an unknown stage, no size, no repeats, or a size that no multiple of the scale fits into.
    """

    sizes: tuple[tuple[int, int], ...] = ((256, 256), (512, 512))
    blocks: tuple[int, ...] = (8, 8)
    model: str | None = None
    stages: tuple[str, ...] = STAGES
    repeats: int = 3
    threads: int | None = None
    memory: int | None = None
    plain: bool = True

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            raise UsageError(f"stages {', '.join(self.stages)}: use some of {', '.join(STAGES)}")
        if not self.sizes or min(map(min, self.sizes)) < 1 << len(self.blocks):
            raise UsageError(f"sizes {self.sizes}: need one or more, with sides of at least {1 << len(self.blocks)}")
        if self.repeats < 1:
            raise UsageError(f"repeats {self.repeats}: must be 1 or more")
        if not self.blocks or min(self.blocks) < 1:
            raise UsageError(f"blocks {self.blocks}: need one or more couplings per level")

    def build(self) -> Rescaler:
        """The model that is measured."""
        if self.model is not None:
            return load(self.model)
        torch.manual_seed(_SEED)
        net = IRN(self.blocks)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):  # the last convolution of a block starts at zero, which is no picture
                nn.init.normal_(module.weight, std=0.3 / math.sqrt(9 * module.in_channels))
        return InvertibleRescaler(net, latent=LatentPolicy(), name=f"irn-{self.blocks}").freeze()


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """What one stage cost on one size; None where the transcription was not run.

    Attributes:
        stage, height, width: what was measured, HR pixels.
        seconds, cpu_seconds: on the clock, and of all threads together.
        plain_seconds, plain_cpu_seconds: the same of the transcription, measured in turn.
        peak_bytes: taken beside model and pictures, in a process of its own.
        plain_peak_bytes: the same of the transcription.
        convolution_seconds, convolution_cpu_seconds: of the same convolutions by themselves, in float32.
        convolution_flops: their operations, computed directly.
    """

    stage: str
    height: int
    width: int
    seconds: float
    cpu_seconds: float
    plain_seconds: float | None
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
        """Time of the transcription over time of this implementation, by the cores' clock: other work beside it
        would stretch seconds on the wall."""
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
        ratios = {"faster": self.faster, "smaller": self.smaller, "convolution_share": self.convolution_share}
        return asdict(self) | {"seconds_per_megapixel": self.seconds / self.megapixels} | ratios


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """All rows, and the machine that they were measured on.

    Attributes:
        model: its name.
        threads: that PyTorch used.
        rows: stages and sizes in the order they were asked for.
    """

    model: str
    threads: int
    rows: list[EvaluationRow] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "model": self.model,
            "machine": {
                "processor": platform.processor() or platform.machine(),
                "capability": torch.backends.cpu.get_cpu_capability(),
                "cores": os.cpu_count(),
                "threads": self.threads,
                "torch": torch.__version__,
            },
            "rows": [row.as_json() for row in self.rows],
        }


def parse_size(text: str) -> tuple[int, int]:
    """``512`` or ``WIDTHxHEIGHT`` → height and width.

    Raises:
        UsageError: another text.

    >>> parse_size("6000x4000")
    (4000, 6000)
    """
    width, _, height = text.strip().lower().partition("x")
    if not width.isdecimal() or (height or width).isdecimal() is False:
        raise UsageError(f"size '{text}': use a side in pixels, or WIDTHxHEIGHT")
    return int(height or width), int(width)


def bench_evaluation(
    settings: EvaluationBenchmark, *, on_row: Callable[[EvaluationRow], None] = lambda row: None
) -> EvaluationReport:
    """Measure every stage on every size. Each figure comes from a process of its own, the two timings from one.

    Args:
        settings: what is measured.
        on_row: called with every row as it is done.
    """
    report = EvaluationReport(model=settings.build().name, threads=settings.threads or torch.get_num_threads())
    for stage in settings.stages:
        density = 0.0  # bytes per pixel of the transcription, from the size before
        for height, width in settings.sizes:
            plain = settings.plain and density * height * width < _SHARE * machine.available_bytes()
            times = _apart(_time, settings, stage, height, width, plain)
            row = EvaluationRow(
                stage=stage,
                height=height,
                width=width,
                peak_bytes=_apart(_peak, settings, stage, height, width, False),
                plain_peak_bytes=_apart(_peak, settings, stage, height, width, True) if plain else None,
                **times,
            )
            density = (row.plain_peak_bytes or 0) / (height * width) or density
            report.rows.append(row)
            on_row(row)
    return report


Result = TypeVar("Result")


def _apart(
    function: Callable[[EvaluationBenchmark, str, int, int, bool], Result],
    settings: EvaluationBenchmark,
    stage: str,
    height: int,
    width: int,
    plain: bool,
) -> Result:
    """What a function returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, settings, stage, height, width, plain).result()


def _prepare(settings: EvaluationBenchmark, height: int, width: int) -> tuple[Rescaler, Tensor, Tensor]:
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = settings.build()
    sides = tuple(-(-side // model.scale) * model.scale for side in (height, width))
    hr = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(_SEED))
    lr = quantize(nn.functional.avg_pool2d(hr, model.scale))
    return model, hr, lr


def _ours(model: Rescaler, stage: str, hr: Tensor, lr: Tensor, memory: int | None) -> Callable[[], object]:
    if stage == "upscale":
        receiver = fit_upscaling(lr, model, memory=memory)
        return torch.inference_mode()(lambda: receiver.upscale(lr))
    fitted = fit_solving(hr, model, steps_hr=int(stage == "hr"), steps_lr=1, memory=memory)
    objective = Reconstruction(hr=hr, model=fitted)

    def evaluate() -> Tensor:
        sample = (hr if stage == "hr" else lr).clone().requires_grad_()
        value = objective.from_lr(quantize(fitted.downscale(sample)) if stage == "hr" else sample)
        return torch.autograd.grad(value, sample)[0]

    return evaluate


def _plain(model: Rescaler, stage: str, hr: Tensor, lr: Tensor) -> Callable[[], object]:
    transcription = Transcription(model)
    if stage == "upscale":
        return torch.no_grad()(lambda: transcription.upscale(lr))
    return (lambda: transcription.hr_gradient(hr, hr)) if stage == "hr" else (lambda: transcription.lr_gradient(lr, hr))


def _time(settings: EvaluationBenchmark, stage: str, height: int, width: int, plain: bool) -> dict[str, Any]:
    model, hr, lr = _prepare(settings, height, width)
    runs = {"ours": _ours(model, stage, hr, lr, settings.memory)}
    if plain:
        runs["plain"] = _plain(model, stage, hr, lr)
    times = machine.time_in_turn(runs, repeats=settings.repeats)
    share, shapes = _convolutions(model, stage, *hr.shape[-2:])
    alone = machine.convolution_timing(shapes, repeats=settings.repeats)
    return {
        "seconds": times["ours"].seconds,
        "cpu_seconds": times["ours"].cpu_seconds,
        "plain_seconds": times["plain"].seconds if plain else None,
        "plain_cpu_seconds": times["plain"].cpu_seconds if plain else None,
        "convolution_seconds": alone.seconds / share,
        "convolution_cpu_seconds": alone.cpu_seconds / share,
        "convolution_flops": round(machine.flops(shapes) / share),
    }


def _convolutions(model: Rescaler, stage: str, height: int, width: int) -> tuple[float, Counter[machine.ConvShape]]:
    """The convolutions of a stage on a part of the picture, and that part's share of it: they cost alike anywhere."""
    side = min(height, width, _PART)
    plain = Transcription(model).to("meta")
    hr = torch.empty(1, 3, side, side, device="meta")

    def run() -> None:
        plain.upscale(plain.downscale(hr) if stage == "hr" else hr[..., :: plain.scale, :: plain.scale])

    shapes = machine.convolutions_of(run, plain)
    return side**2 / (height * width), shapes if stage == "upscale" else machine.with_input_gradients(shapes)


def _peak(settings: EvaluationBenchmark, stage: str, height: int, width: int, plain: bool) -> int:
    model, hr, lr = _prepare(settings, height, width)

    def run(hr: Tensor, lr: Tensor) -> None:
        evaluate = _plain(model, stage, hr, lr) if plain else _ours(model, stage, hr, lr, settings.memory)
        for _ in range(2):  # what the first leaves behind is there when the second runs, as in a descent
            evaluate()

    # What a process loads at first use counts for neither.
    run(hr[..., : 16 * model.scale, : 16 * model.scale], lr[..., :16, :16])
    before = machine.peak_bytes()
    run(hr, lr)
    return machine.peak_bytes() - before
