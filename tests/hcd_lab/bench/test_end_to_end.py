"""The benchmark of whole pictures: what a small run finds, what is compared, what is refused."""

from __future__ import annotations

import pytest
import torch

from hcd.errors import PictureTooLargeError, UsageError
from hcd.rescaler import TiledRescaler
from hcd_lab.bench import BenchmarkModel, EndToEndBenchmark, bench_end_to_end, end_to_end
from tests.conftest import make_tiny_irn

ONE_THREAD = BenchmarkModel(threads=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": ()}, "need one or more"),
        ({"presets": ()}, "need one or more"),
        ({"presets": ("quick",)}, "preset 'quick'"),
        ({"presets": ("plain",)}, "has no evaluations to measure"),
        ({"steps_lr": -1}, "must be whole numbers"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        EndToEndBenchmark(**settings)


@pytest.fixture
def in_this_process(monkeypatch):
    """What a run calls in fresh processes is called here, with a tiny model; returns what was called."""
    called = []

    def call(function, *arguments):
        called.append(function)
        return function(*arguments)

    monkeypatch.setattr(end_to_end, "in_fresh_process", call)
    monkeypatch.setattr(BenchmarkModel, "build", lambda self: make_tiny_irn(4))
    return called


@pytest.mark.slow
def test_a_run_measures_the_file(in_this_process):
    settings = EndToEndBenchmark(
        sizes=((66, 90), (128, 96)), presets=("fast",), steps_lr=2, model=ONE_THREAD, reference_megapixels=0.01
    )
    seen = []
    report = bench_end_to_end(settings, on_row=seen.append)
    small, large = report.rows
    assert seen[0].items() <= small.items()
    assert [small[name] for name in ("height", "width", "evaluations", "tiles", "overlap")] == [66, 90, 2, 1, 1.0]
    assert small["gain"] == small["psnr"] - small["plain_psnr"] > 0
    assert min(small["seconds"], small["cpu_seconds"], small["upscale_seconds"]) > 0
    assert small["seconds_per_megapixel"] == pytest.approx(small["seconds"] / (66 * 90 / 1e6))
    assert min(small["peak_bytes"], small["upscale_peak_bytes"]) > 2**26
    # The reference solved the first image only: the other one is larger than asked for.
    assert small["faster"] == pytest.approx(small["paper_seconds"] / small["seconds"])
    assert small["paper_gain"] > 0
    assert large["paper_seconds"] is large["paper_gain"] is large["faster"] is None
    way, back = end_to_end._downscale, end_to_end._upscale
    assert in_this_process == [end_to_end._paper, way, back, way, back]


def test_what_the_receiver_restores_is_what_was_promised(in_this_process, monkeypatch):
    promised = []

    def downscaled(*arguments, **settings):
        promised.append(original(*arguments, **settings))
        return promised[-1]

    original = end_to_end.downscale_picture
    monkeypatch.setattr(end_to_end, "downscale_picture", downscaled)
    (row,) = bench_end_to_end(
        EndToEndBenchmark(sizes=((64, 64),), presets=("fast",), model=ONE_THREAD, reference_megapixels=0)
    ).rows
    small = next(found for found in promised if found.picture.rgb.shape[-1] == 16 and found.result.grad_evals == 3)
    assert row["psnr"] == pytest.approx(small.psnr, abs=1e-3)


def test_tiles_and_their_overlap(monkeypatch):
    tiled = TiledRescaler(make_tiny_irn(4), window=12, halo=2)
    monkeypatch.setattr(end_to_end, "fit_solving", lambda hr, model, **settings: tiled)
    tiles, overlap = end_to_end._tiling(EndToEndBenchmark(), "fast", torch.zeros(1, 3, 64, 64), tiled.inner)
    # Two by two cores of 8, whose windows are 10 pixels a side.
    assert (tiles, overlap) == (4, 400 / 256)


def test_a_limit_that_is_too_low_is_named_with_the_picture(in_this_process):
    settings = EndToEndBenchmark(
        sizes=((96, 128),), presets=("fast",), model=BenchmarkModel(threads=1, memory=2**20), reference_megapixels=0
    )
    with pytest.raises(PictureTooLargeError, match="128×96 pixels do not fit"):
        bench_end_to_end(settings)


def test_megapixels_are_compared_within_a_preset():
    def row(height, cpu_seconds, preset="fast"):
        pace = cpu_seconds / (height / 1000)
        return {"preset": preset, "height": height, "width": 1000, "cpu_seconds_per_megapixel": pace}

    rows = [row(100, 9.0), row(1000, 60.0), row(4000, 264.0), row(4000, 999.0, "balanced")]
    compared = [end_to_end.of_a_megapixel(each, rows) for each in rows]
    assert compared == [pytest.approx(1.5), 1.0, pytest.approx(1.1), None]
