"""Benchmark whole runs: images of growing size, downscaled to LR files and restored, each in a fresh process."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
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
from hcd_lab.bench.benchmark_model import BenchmarkModel, in_fresh_process
from hcd_lab.bench.images import mirrored_photographs
from hcd_lab.bench.reference import Reference
from hcd_lab.bench.result import BenchResult, OnRow, Row, ratio

# Pixels a side of the image that warms a process up.
_WARM = 64
# Sizes within this factor of a megapixel count as one megapixel.
_NEAR = 1.3


@dataclass(frozen=True, kw_only=True)
class EndToEndBenchmark:
    """Configuration of the benchmark of whole runs.

    Attributes:
        model: the model, and how it runs.
        sizes: height and width of the HR images, made by :func:`hcd_lab.bench.images.mirrored_photographs`.
        presets: names of presets of ``collaborate``.
        steps_lr: evaluations of the LR stage; None for each preset's own.
        reference_megapixels: up to this size, the reference solves an image by ``paper`` too.

    Raises:
        UsageError: no size, a side below the scale, no preset, or an unknown one.
    """

    model: BenchmarkModel = field(default_factory=BenchmarkModel)
    sizes: tuple[tuple[int, int], ...] = ((256, 256), (1024, 1024))
    presets: tuple[str, ...] = ("fast", "balanced")
    steps_lr: int | None = None
    reference_megapixels: float = 0.1

    def __post_init__(self) -> None:
        self.model.check_sizes(self.sizes)
        if not self.presets:
            raise UsageError("presets: need one or more")
        for preset in self.presets:
            settings = get_settings(preset, **self.overrides)
            if not settings.steps_hr + settings.steps_lr:
                raise UsageError(f"preset '{preset}': has no evaluations to measure; use one that has, such as fast")

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings that replace the presets'."""
        return {} if self.steps_lr is None else {"steps_lr": self.steps_lr}


def bench_end_to_end(settings: EndToEndBenchmark, *, on_row: OnRow = lambda row: None) -> BenchResult:
    """Downscale and restore every image under every preset, each in a fresh process, whose peak memory is then its own.

    Reading the original and writing the restored picture are not measured; encoding and decoding the LR file are.

    Args:
        settings: configuration of the benchmark.
        on_row: called with each row.

    Returns:
        Rows with the fields

        - ``model``, ``preset``, ``height``, ``width``: what was run, HR pixels;
        - ``evaluations``: spent; ``tiles`` of each, and ``overlap``, pixels of all windows over those of the image;
        - ``seconds``, ``cpu_seconds``: of downscaling, by the clock and over all threads, also ``…_per_megapixel``;
        - ``peak_bytes``: of the process, everything counted;
        - ``upscale_…``: the same of the process that restored the picture;
        - ``plain_psnr``, ``psnr``, ``gain``: RGB, dB, of what is restored from the plain LR image and from this file;
        - ``paper_seconds``, ``paper_cpu_seconds``, ``paper_gain``: the published scheme by the reference on the same
          image; None where it was not run; ``faster``, ``faster_cpu``: these over ours;
        - ``of_a_megapixel``: CPU time per megapixel over that of the image of about one megapixel under the same
          preset; None without one.
    """
    name = settings.model.build().name
    rows: list[Row] = []
    for height, width in settings.sizes:
        paper = None
        if height * width <= 1e6 * settings.reference_megapixels:
            paper = in_fresh_process(_paper, settings, height, width)
        paper_seconds, paper_cpu_seconds = machine.times_of(None if paper is None else paper.timing)
        for preset in settings.presets:
            small = in_fresh_process(_downscale, settings, preset, height, width)
            large = in_fresh_process(_upscale, settings, small.file, height, width)
            row: Row = {
                "model": name,
                "preset": preset,
                "height": height,
                "width": width,
                "evaluations": small.evaluations,
                "tiles": small.tiles,
                "overlap": small.overlap,
                **_costs("", small, height * width),
                **_costs("upscale_", large, height * width),
                "plain_psnr": small.plain_psnr,
                "psnr": large.psnr,
                "gain": large.psnr - small.plain_psnr,
                "paper_seconds": paper_seconds,
                "paper_cpu_seconds": paper_cpu_seconds,
                "paper_gain": None if paper is None else paper.psnr - small.plain_psnr,
                "faster": ratio(paper_seconds, small.timing.seconds),
                "faster_cpu": ratio(paper_cpu_seconds, small.timing.cpu_seconds),
            }
            rows.append(row)
            on_row(row)
    rows = [{**row, "of_a_megapixel": of_a_megapixel(row, rows)} for row in rows]
    return BenchResult(benchmark="pictures", machine=settings.model.machine(), rows=rows)


def of_a_megapixel(row: Row, rows: list[Row]) -> float | None:
    """Compare CPU time per megapixel with that of the image nearest to a megapixel; None without a near one."""

    def distance(other: Row) -> float:
        megapixels = other["height"] * other["width"] / 1e6
        return float(max(megapixels, 1 / megapixels))

    nearest = min((other for other in rows if other["preset"] == row["preset"]), key=distance)
    if distance(nearest) > _NEAR:
        return None
    return ratio(row["cpu_seconds_per_megapixel"], nearest["cpu_seconds_per_megapixel"])


@dataclass(frozen=True, kw_only=True)
class _Large:
    """Measurements of a process that restored a picture."""

    timing: machine.Timing
    peak_bytes: int
    psnr: float


@dataclass(frozen=True, kw_only=True)
class _Small:
    """LR file and measurements of a process that downscaled a picture."""

    file: bytes
    timing: machine.Timing
    peak_bytes: int
    evaluations: int
    tiles: int
    overlap: float
    plain_psnr: float


def _costs(prefix: str, found: _Small | _Large, pixels: int) -> Row:
    megapixels = pixels / 1e6
    return {
        f"{prefix}seconds": found.timing.seconds,
        f"{prefix}cpu_seconds": found.timing.cpu_seconds,
        f"{prefix}seconds_per_megapixel": found.timing.seconds / megapixels,
        f"{prefix}cpu_seconds_per_megapixel": found.timing.cpu_seconds / megapixels,
        f"{prefix}peak_bytes": found.peak_bytes,
    }


def _downscale(settings: EndToEndBenchmark, preset: str, height: int, width: int) -> _Small:
    model, hr = _prepared(settings), mirrored_photographs(height, width)
    tiles, overlap = _tiling(settings, preset, hr, model)
    clock = _Clock()
    file, small = _file_of(settings, hr, model, preset, settings.overrides)
    return _Small(
        file=file,
        timing=clock.timing(),
        peak_bytes=machine.peak_bytes(settings.model.device),
        evaluations=small.result.grad_evals,
        tiles=tiles,
        overlap=overlap,
        plain_psnr=math.nan if small.plain_psnr is None else small.plain_psnr,
    )


def _tiling(settings: EndToEndBenchmark, preset: str, hr: Tensor, model: Rescaler) -> tuple[int, float]:
    """Return the number of tiles of an image, and the pixels of their windows over its own."""
    steps = get_settings(preset, **settings.overrides)
    hr = hr.to(settings.model.device)
    fitted = fit_solving(hr, model, steps_hr=steps.steps_hr, steps_lr=steps.steps_lr, memory=settings.model.memory)
    height, width = (-(-side // model.scale) for side in hr.shape[-2:])
    tiles = fitted.tiles(height, width)
    windows = [(t.window_bottom - t.window_top) * (t.window_right - t.window_left) for t in tiles]
    return len(tiles), sum(windows) / (height * width)


def _upscale(settings: EndToEndBenchmark, file: bytes, height: int, width: int) -> _Large:
    model = _prepared(settings)
    clock = _Clock()
    restored = _restored(settings, file, model)
    timing, peak_bytes = clock.timing(), machine.peak_bytes(settings.model.device)
    # The original is made after the peak was read, since a receiver has none.
    hr = mirrored_photographs(height, width)
    return _Large(timing=timing, peak_bytes=peak_bytes, psnr=psnr(restored, hr, channel="rgb"))


def _paper(settings: EndToEndBenchmark, height: int, width: int) -> _Large:
    """Run the published scheme by the reference implementation."""
    model, device = _prepared(settings), settings.model.device
    reference = Reference(model)
    warm = pad_to_multiple(mirrored_photographs(_WARM, _WARM), model.scale).to(device)
    reference.hr_gradient(warm, warm)
    hr = mirrored_photographs(height, width).to(device)
    machine.finish(device)
    clock = _Clock()
    lr = reference.collaborate(pad_to_multiple(hr, model.scale))
    machine.finish(device)
    timing, peak_bytes = clock.timing(), machine.peak_bytes(device)
    with torch.inference_mode():
        restored = quantize(model.upscale(lr))[..., :height, :width]
    return _Large(timing=timing, peak_bytes=peak_bytes, psnr=psnr(restored, hr, channel="rgb"))


class _Clock:
    """Measures the time since its creation."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def timing(self) -> machine.Timing:
        return machine.Timing(seconds=time.perf_counter() - self._wall, cpu_seconds=time.process_time() - self._cpu)


def _prepared(settings: EndToEndBenchmark) -> Rescaler:
    """Return the model after a small run, so that what happens at first use is not measured."""
    settings.model.set_threads()
    model = settings.model.build()
    # Without the limit on memory, whose error should name the measured image.
    free = replace(settings, model=replace(settings.model, memory=None))
    file, _ = _file_of(free, mirrored_photographs(_WARM, _WARM), model, "fast", {"steps_lr": 2})
    _restored(free, file, model)
    return model


def _file_of(
    settings: EndToEndBenchmark, hr: Tensor, model: Rescaler, preset: str, overrides: dict[str, Any]
) -> tuple[bytes, Downscaled]:
    """Return the bytes of the LR file, and the result they were encoded from."""
    small = downscale_picture(
        Picture(rgb=hr),
        model,
        get_settings(preset, **overrides),
        device=settings.model.device,
        memory=settings.model.memory,
    )
    return encode_lr(small.picture, small.info), small


def _restored(settings: EndToEndBenchmark, data: bytes, model: Rescaler) -> Tensor:
    """Return the picture that a receiver makes of an LR file."""
    lr, info = decode_lr(data, Path("LR file"))
    return upscale_picture(lr, model, info, device=settings.model.device, memory=settings.model.memory).rgb
