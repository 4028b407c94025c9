"""The benchmark of an evaluation: what it counts, and what it refuses."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from hcd.errors import UsageError
from hcd_lab.bench import EvaluationBenchmark, EvaluationRow, evaluation, machine
from hcd_lab.bench.evaluation import _convolutions
from hcd_lab.bench.machine import ConvShape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ("up",)}, "use some of lr, hr, upscale"),
        ({"sizes": ()}, "need one or more"),
        ({"sizes": ((2, 256),)}, "sides of at least 4"),
        ({"repeats": 0}, "must be 1 or more"),
        ({"blocks": ()}, "need one or more couplings"),
        ({"blocks": (0, 1)}, "need one or more couplings"),
        ({"precisions": ("half",)}, "use some of float32, bfloat16"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        EvaluationBenchmark(**settings)


def test_convolutions_are_counted():
    model = EvaluationBenchmark(blocks=(1,), sizes=((64, 64),)).build()
    share, upscaling = _convolutions(model, "upscale", 64, 48)
    # Three blocks of five convolutions at half the side of the largest square part.
    assert sum(upscaling.values()) == 15
    assert {(shape.height, shape.width) for shape in upscaling} == {(24, 24)}
    assert share == 48 * 48 / (64 * 48)
    assert upscaling[ConvShape(inputs=9, outputs=32, height=24, width=24)] == 1
    _, solving = _convolutions(model, "lr", 64, 48)
    assert sum(solving.values()) == 30
    assert solving[ConvShape(inputs=32, outputs=9, height=24, width=24)] == 1
    assert machine.flops(solving) == 2 * machine.flops(upscaling)
    _, both = _convolutions(model, "hr", 64, 48)
    assert machine.flops(both) == 2 * machine.flops(solving)


def test_operations_of_a_convolution():
    shape = ConvShape(inputs=3, outputs=5, height=7, width=11)
    assert machine.flops(Counter({shape: 2})) == 2 * (2 * 9 * 3 * 5 * 7 * 11)


def test_runs_are_taken_in_turn(monkeypatch):
    order = []
    monkeypatch.setattr(machine, "finish", lambda device: order.append(device))
    runs = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    timings = machine.time_in_turn(runs, repeats=2, device="cuda")
    # Each is waited for, since a GPU returns before it is done.
    assert order == ["a", "cuda", "b", "cuda"] * 3
    assert all(timing.seconds >= 0 and timing.cpu_seconds >= 0 for timing in timings.values())


def test_a_gpu_is_asked_for_its_own_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 123)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (456, 789))
    assert machine.peak_bytes("cuda") == 123 < machine.peak_bytes()
    assert evaluation._free("cuda") == 456 < evaluation._free("cpu")


def row(**changes):
    figures = {
        "stage": "lr",
        "precision": "float32",
        "height": 1000,
        "width": 500,
        "seconds": 2.0,
        "cpu_seconds": 4.0,
        "reference_seconds": 6.0,
        "plain_cpu_seconds": 10.0,
        "peak_bytes": 2**30,
        "plain_peak_bytes": 2**33,
        "convolution_seconds": 1.5,
        "convolution_cpu_seconds": 3.0,
        "convolution_flops": 10**9,
    }
    return EvaluationRow(**(figures | changes))


def test_ratios():
    figures = row().as_json()
    assert (figures["faster"], figures["faster_cpu"], figures["smaller"]) == (3, 2.5, 8)
    assert (figures["convolution_share"], figures["seconds_per_megapixel"]) == (0.75, 4)
    alone = row(reference_seconds=None, plain_cpu_seconds=None, plain_peak_bytes=None)
    assert alone.faster is alone.faster_cpu is alone.smaller is None
    assert row(peak_bytes=5).smaller is None
