"""Whole runs: pictures of growing size downscaled into LR files and rebuilt from them, each in a process of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hcd.collab import fit_solving, get_settings
from hcd.errors import UsageError
from hcd.image import Picture, decode_lr, encode_lr
from hcd.metrics import psnr
from hcd.ops import pad_to_multiple, quantize
from hcd.pipeline import Downscaled, downscale_picture, upscale_picture
from hcd.rescaler import Rescaler
from hcd_lab.bench import machine
from hcd_lab.bench.benchmark_model import build_subject, check_blocks, describe_machine, in_fresh_process
from hcd_lab.bench.pictures import mirrored_photographs
from hcd_lab.bench.transcription import Transcription

# Pixels a side of what warms a process up.
_WARM = 64
# A picture within this factor of a megapixel stands for one.
_NEAR = 1.3


@dataclass(frozen=True, kw_only=True)
class EndToEndBenchmark:
    """What is measured.

    Attributes:
        sizes: height and width of the HR pictures, made by :func:`mirrored_photographs`.
        presets: of ``collaborate``.
        steps_lr: evaluations of the LR stage in place of each preset's.
        blocks: couplings per level of an IRN with weights drawn from a seed; what such a network gains means nothing.
        model: the name of a model with weights that is measured instead.
        threads: that PyTorch may use; None for as many as it takes by itself.
        memory: bytes that each process keeps to; None for most of what is free.
        device: where networks run; on a GPU, memory is what tensors take there, and CPU time means little.
        plain_megapixels: pictures of at most so many are solved by the transcription's ``paper`` too.

    Raises:
        UsageError: no size, a side below the scale, no preset, or an unknown one.
    """

    sizes: tuple[tuple[int, int], ...] = ((256, 256), (1024, 1024))
    presets: tuple[str, ...] = ("fast", "balanced")
    steps_lr: int | None = None
    blocks: tuple[int, ...] = (8, 8)
    model: str | None = None
    threads: int | None = None
    memory: int | None = None
    device: str = "cpu"
    plain_megapixels: float = 0.1

    def __post_init__(self) -> None:
        check_blocks(self.blocks)
        least = 1 << len(self.blocks)
        if not self.sizes or min(map(min, self.sizes)) < least:
            raise UsageError(f"sizes {self.sizes}: need one or more, with sides of at least {least}")
        if not self.presets:
            raise UsageError("presets: need one or more")
        for preset in self.presets:
            if not get_settings(preset, **self.overrides).evaluations:
                raise UsageError(f"preset '{preset}': has no evaluations to measure; use one that has, such as fast")

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings in place of the presets'."""
        return {} if self.steps_lr is None else {"steps_lr": self.steps_lr}

    def build(self) -> Rescaler:
        """The model that is measured."""
        return build_subject(self.blocks, self.model, self.device)


@dataclass(frozen=True, kw_only=True)
class EndToEndRow:
    """What one picture cost under one preset.

    Attributes:
        preset, height, width: what was run; HR pixels.
        evaluations: spent.
        tiles, overlap: of an evaluation; pixels of all their windows over those of the picture.
        seconds, cpu_seconds: of downscaling, on the clock and of all threads together.
        peak_bytes: that the process which downscaled held at most, everything counted.
        upscale_seconds, upscale_cpu_seconds, upscale_peak_bytes: likewise of the process that rebuilt the picture.
        plain_psnr, psnr: over RGB, in dB, of what a receiver rebuilds from the plain LR picture, and of what it
            rebuilt from this file.
        paper_seconds, paper_cpu_seconds, paper_gain: of the whole published scheme in its plain transcription, on the
            same picture; None where it was not run.
    """

    preset: str
    height: int
    width: int
    evaluations: int
    tiles: int
    overlap: float
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    upscale_seconds: float
    upscale_cpu_seconds: float
    upscale_peak_bytes: int
    plain_psnr: float
    psnr: float
    paper_seconds: float | None = None
    paper_cpu_seconds: float | None = None
    paper_gain: float | None = None

    @property
    def megapixels(self) -> float:
        return self.height * self.width / 1e6

    @property
    def gain(self) -> float:
        """Over the plain LR picture, in dB."""
        return self.psnr - self.plain_psnr

    @property
    def faster(self) -> float | None:
        """Seconds of the transcription's ``paper`` over seconds of this run."""
        return None if self.paper_seconds is None else self.paper_seconds / self.seconds

    @property
    def faster_cpu(self) -> float | None:
        """The same by the time that the cores spent, which other work beside it stretches less."""
        return None if self.paper_cpu_seconds is None else self.paper_cpu_seconds / self.cpu_seconds

    def as_json(self) -> dict[str, Any]:
        """Attributes, and what follows from them."""
        return asdict(self) | {
            "gain": self.gain,
            "seconds_per_megapixel": self.seconds / self.megapixels,
            "cpu_seconds_per_megapixel": self.cpu_seconds / self.megapixels,
            "faster": self.faster,
            "faster_cpu": self.faster_cpu,
        }


@dataclass(frozen=True, kw_only=True)
class EndToEndReport:
    """All rows, and the machine that they were measured on.

    Attributes:
        model: its name.
        threads: that PyTorch used.
        device: where networks ran.
        rows: sizes in the order they were asked for, and presets within.
    """

    model: str
    threads: int
    device: str = "cpu"
    rows: list[EndToEndRow] = field(default_factory=list)

    def of_a_megapixel(self, row: EndToEndRow) -> float | None:
        """CPU time per megapixel over that of the picture nearest to one megapixel; None where none is near."""
        alike = [other for other in self.rows if other.preset == row.preset]
        nearest = min(alike, key=lambda other: max(other.megapixels, 1 / other.megapixels))
        if max(nearest.megapixels, 1 / nearest.megapixels) > _NEAR:
            return None
        return (row.cpu_seconds / row.megapixels) / (nearest.cpu_seconds / nearest.megapixels)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        rows = [row.as_json() | {"of_a_megapixel": self.of_a_megapixel(row)} for row in self.rows]
        return {"model": self.model, "machine": describe_machine(self.threads, self.device), "rows": rows}


def bench_whole(
    settings: EndToEndBenchmark, *, on_row: Callable[[EndToEndRow], None] = lambda row: None
) -> EndToEndReport:
    """Downscale and rebuild every picture under every preset: each way in a fresh process, whose peak is then its own.

    Reading the original and writing what was rebuilt take no part; the LR file is encoded and decoded.

    Args:
        settings: what is measured.
        on_row: called with every row as it is done.
    """
    threads = settings.threads or torch.get_num_threads()
    report = EndToEndReport(model=settings.build().name, threads=threads, device=settings.device)
    for height, width in settings.sizes:
        paper = None
        if height * width <= 1e6 * settings.plain_megapixels:
            paper = in_fresh_process(_paper, settings, height, width)
        for preset in settings.presets:
            small = in_fresh_process(_downscale, settings, preset, height, width)
            large = in_fresh_process(_upscale, settings, small.file, height, width)
            row = EndToEndRow(
                preset=preset,
                height=height,
                width=width,
                evaluations=small.evaluations,
                tiles=small.tiles,
                overlap=small.overlap,
                seconds=small.timing.seconds,
                cpu_seconds=small.timing.cpu_seconds,
                peak_bytes=small.peak_bytes,
                upscale_seconds=large.timing.seconds,
                upscale_cpu_seconds=large.timing.cpu_seconds,
                upscale_peak_bytes=large.peak_bytes,
                plain_psnr=small.plain_psnr,
                psnr=large.psnr,
                paper_seconds=None if paper is None else paper.timing.seconds,
                paper_cpu_seconds=None if paper is None else paper.timing.cpu_seconds,
                paper_gain=None if paper is None else paper.psnr - small.plain_psnr,
            )
            report.rows.append(row)
            on_row(row)
    return report


@dataclass(frozen=True, kw_only=True)
class _Small:
    """What a process that downscaled hands back; fields as of :class:`EndToEndRow`."""

    file: bytes
    timing: machine.Timing
    peak_bytes: int
    evaluations: int
    tiles: int
    overlap: float
    plain_psnr: float


@dataclass(frozen=True, kw_only=True)
class _Large:
    """What a process that rebuilt a picture hands back."""

    timing: machine.Timing
    peak_bytes: int
    psnr: float


def _downscale(settings: EndToEndBenchmark, preset: str, height: int, width: int) -> _Small:
    model, hr = _prepared(settings), mirrored_photographs(height, width)
    tiles, overlap = _cut(settings, preset, hr, model)
    begun = _Clock()
    file, small = _file_of(settings, hr, model, preset, settings.overrides)
    return _Small(
        file=file,
        timing=begun.timing(),
        peak_bytes=machine.peak_bytes(settings.device),
        evaluations=small.result.grad_evals,
        tiles=tiles,
        overlap=overlap,
        plain_psnr=math.nan if small.plain_psnr is None else small.plain_psnr,
    )


def _cut(settings: EndToEndBenchmark, preset: str, hr: Tensor, model: Rescaler) -> tuple[int, float]:
    """The tiles that a picture is cut into, and the pixels of their windows over its own."""
    steps = get_settings(preset, **settings.overrides)
    hr = hr.to(settings.device)
    fitted = fit_solving(hr, model, steps_hr=steps.steps_hr, steps_lr=steps.steps_lr, memory=settings.memory)
    height, width = (-(-side // model.scale) for side in hr.shape[-2:])
    tiles = fitted.tiles(height, width)
    windows = [(t.window_bottom - t.window_top) * (t.window_right - t.window_left) for t in tiles]
    return len(tiles), sum(windows) / (height * width)


def _upscale(settings: EndToEndBenchmark, file: bytes, height: int, width: int) -> _Large:
    model = _prepared(settings)
    begun = _Clock()
    rebuilt = _rebuilt(settings, file, model)
    timing, peak_bytes = begun.timing(), machine.peak_bytes(settings.device)
    # The original comes after the peak was read: a receiver has none.
    hr = mirrored_photographs(height, width)
    return _Large(timing=timing, peak_bytes=peak_bytes, psnr=psnr(rebuilt, hr, channel="rgb"))


def _paper(settings: EndToEndBenchmark, height: int, width: int) -> _Large:
    """The whole published scheme in its plain transcription."""
    model = _prepared(settings)
    transcription = Transcription(model)
    warm = pad_to_multiple(mirrored_photographs(_WARM, _WARM), model.scale).to(settings.device)
    transcription.hr_gradient(warm, warm)
    hr = mirrored_photographs(height, width).to(settings.device)
    machine.finish(settings.device)
    begun = _Clock()
    lr = transcription.collaborate(pad_to_multiple(hr, model.scale))
    machine.finish(settings.device)
    timing, peak_bytes = begun.timing(), machine.peak_bytes(settings.device)
    with torch.inference_mode():
        rebuilt = quantize(model.upscale(lr))[..., :height, :width]
    return _Large(timing=timing, peak_bytes=peak_bytes, psnr=psnr(rebuilt, hr, channel="rgb"))


class _Clock:
    """Started when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def timing(self) -> machine.Timing:
        """What passed since then."""
        return machine.Timing(seconds=time.perf_counter() - self._wall, cpu_seconds=time.process_time() - self._cpu)


def _prepared(settings: EndToEndBenchmark) -> Rescaler:
    """The model, warmed up: what a process loads and lays out at first use is no matter of the picture."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = settings.build()
    # Without the limit, which is to be told of with the picture that is measured.
    free = replace(settings, memory=None)
    file, _ = _file_of(free, mirrored_photographs(_WARM, _WARM), model, "fast", {"steps_lr": 2})
    _rebuilt(free, file, model)
    return model


def _file_of(
    settings: EndToEndBenchmark, hr: Tensor, model: Rescaler, preset: str, overrides: dict[str, Any]
) -> tuple[bytes, Downscaled]:
    """The bytes of the LR file, and what was found."""
    solved_by = get_settings(preset, **overrides)
    small = downscale_picture(Picture(rgb=hr), model, solved_by, device=settings.device, memory=settings.memory)
    return encode_lr(small.picture, small.info), small


def _rebuilt(settings: EndToEndBenchmark, data: bytes, model: Rescaler) -> Tensor:
    """The picture that a receiver makes of an LR file."""
    lr, info = decode_lr(data, Path("LR file"))
    return upscale_picture(lr, model, info, device=settings.device, memory=settings.memory).rgb
