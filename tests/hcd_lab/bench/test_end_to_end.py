"""The benchmark of whole pictures: what a small run finds, what is compared, what is refused."""

from __future__ import annotations

import pytest
import torch

from hcd.errors import PictureTooLargeError, UsageError
from hcd.rescaler import TiledRescaler
from hcd_lab.bench import EndToEndBenchmark, EndToEndReport, EndToEndRow, bench_whole
from hcd_lab.bench import end_to_end as whole
from tests.conftest import make_tiny_irn


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": ()}, "need one or more"),
        ({"sizes": ((2, 256),)}, "sides of at least 4"),
        ({"presets": ()}, "need one or more"),
        ({"presets": ("quick",)}, "preset 'quick'"),
        ({"presets": ("plain",)}, "has no evaluations to measure"),
        ({"steps_lr": -1}, "must be whole numbers"),
        ({"blocks": ()}, "need one or more couplings"),
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

    monkeypatch.setattr(whole, "in_fresh_process", call)
    monkeypatch.setattr(EndToEndBenchmark, "build", lambda self: make_tiny_irn(4))
    return called


def test_a_run_measures_the_file(in_this_process):
    settings = EndToEndBenchmark(
        sizes=((66, 90), (128, 96)), presets=("fast",), steps_lr=2, threads=1, plain_megapixels=0.01
    )
    seen = []
    report = bench_whole(settings, on_row=seen.append)
    small, large = report.rows
    assert seen == [small, large]
    assert (small.height, small.width, small.evaluations, small.tiles, small.overlap) == (66, 90, 2, 1, 1.0)
    assert small.gain > 0
    assert min(small.seconds, small.cpu_seconds, small.upscale_seconds) > 0
    assert min(small.peak_bytes, small.upscale_peak_bytes) > 2**26
    # The transcription solved the first alone: the other has more than so many megapixels.
    assert small.paper_seconds > small.seconds
    assert small.paper_gain > 0
    assert large.paper_seconds is large.paper_gain is large.faster is None
    way, back = whole._downscale, whole._upscale
    assert in_this_process == [whole._paper, way, back, way, back]


def test_what_the_receiver_rebuilds_is_what_was_promised(in_this_process, monkeypatch):
    promised = []

    def downscaled(*arguments, **settings):
        promised.append(original(*arguments, **settings))
        return promised[-1]

    original = whole.downscale_picture
    monkeypatch.setattr(whole, "downscale_picture", downscaled)
    (row,) = bench_whole(EndToEndBenchmark(sizes=((64, 64),), presets=("fast",), threads=1, plain_megapixels=0)).rows
    small = next(found for found in promised if found.picture.rgb.shape[-1] == 16 and found.result.grad_evals == 3)
    assert row.psnr == pytest.approx(small.psnr, abs=1e-3)


def test_tiles_and_their_overlap(monkeypatch):
    tiled = TiledRescaler(make_tiny_irn(4), window=12, halo=2)
    monkeypatch.setattr(whole, "fit_solving", lambda hr, model, **settings: tiled)
    tiles, overlap = whole._cut(EndToEndBenchmark(), "fast", torch.zeros(1, 3, 64, 64), tiled.inner)
    # Two by two cores of 8, whose windows are 10 pixels a side.
    assert (tiles, overlap) == (4, 400 / 256)


def test_a_limit_that_is_too_low_is_named_with_the_picture(in_this_process):
    settings = EndToEndBenchmark(sizes=((96, 128),), presets=("fast",), threads=1, memory=2**20, plain_megapixels=0)
    with pytest.raises(PictureTooLargeError, match="128×96 pixels do not fit"):
        bench_whole(settings)


def row(**changes):
    figures = {
        "preset": "fast",
        "height": 1000,
        "width": 1000,
        "evaluations": 3,
        "tiles": 1,
        "overlap": 1.0,
        "seconds": 70.0,
        "cpu_seconds": 60.0,
        "peak_bytes": 2**30,
        "upscale_seconds": 12.0,
        "upscale_cpu_seconds": 11.0,
        "upscale_peak_bytes": 2**29,
        "plain_psnr": 30.0,
        "psnr": 30.5,
    }
    return EndToEndRow(**(figures | changes))


def test_ratios():
    figures = row(paper_seconds=700.0, paper_cpu_seconds=660.0, paper_gain=0.4).as_json()
    assert (figures["faster"], figures["faster_cpu"], figures["gain"]) == (10, 11, 0.5)
    assert (figures["seconds_per_megapixel"], figures["cpu_seconds_per_megapixel"]) == (70, 60)
    assert row().faster is row().faster_cpu is None


def test_megapixels_are_compared_within_a_preset():
    report = EndToEndReport(model="irn", threads=1)
    small, one, large = row(height=100, cpu_seconds=9.0), row(), row(height=4000, cpu_seconds=264.0)
    other = row(preset="balanced", height=4000, cpu_seconds=999.0)
    report.rows.extend([small, one, large, other])
    assert [report.of_a_megapixel(each) for each in report.rows] == [1.5, 1.0, 1.1, None]
    assert report.as_json()["rows"][2]["of_a_megapixel"] == 1.1
