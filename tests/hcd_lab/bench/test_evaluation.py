"""The benchmark of an evaluation: what it counts, and what it refuses."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from hcd.errors import UsageError
from hcd_lab.bench import BenchmarkModel, EvaluationBenchmark, bench_evaluation, evaluation, machine
from hcd_lab.bench.evaluation import _convolutions
from hcd_lab.bench.machine import ConvShape, Timing


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ("up",)}, "use some of lr, hr, upscale"),
        ({"sizes": ()}, "need one or more"),
        ({"repeats": 0}, "must be 1 or more"),
        ({"precisions": ("half",)}, "use some of float32, bfloat16"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        EvaluationBenchmark(**settings)


def test_convolutions_are_counted():
    model = BenchmarkModel(blocks=(1,)).build()
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


@pytest.fixture
def measured(monkeypatch):
    """``measured(**settings)`` runs the benchmark on known times and peaks, of a reference that is slower."""
    times = {"float32": Timing(seconds=2.0, cpu_seconds=4.0), "reference": Timing(seconds=6.0, cpu_seconds=10.0)}
    peaks = {"float32": 2**30, "reference": 2**33}

    def call(function, settings, stage, height, width, variants):
        if function is evaluation._peak:
            return peaks[variants]
        return {name: times[name] for name in variants}, Timing(seconds=1.5, cpu_seconds=3.0), 10**9

    def run(**settings):
        monkeypatch.setattr(evaluation, "in_fresh_process", call)
        model = BenchmarkModel(blocks=(1,))
        return bench_evaluation(EvaluationBenchmark(model=model, precisions=("float32",), stages=("lr",), **settings))

    return run


def test_ratios(measured):
    (row,) = measured(sizes=((1000, 500),)).rows
    assert (row["faster"], row["faster_cpu"], row["smaller"]) == (3, 2.5, 8)
    assert (row["convolution_share"], row["seconds_per_megapixel"]) == (0.75, 4)


def test_without_the_reference(measured):
    (row,) = measured(sizes=((1000, 500),), reference=False).rows
    assert row["reference_seconds"] is row["faster"] is row["faster_cpu"] is row["smaller"] is None


def test_a_reference_that_would_not_fit_is_left_out(measured, monkeypatch):
    monkeypatch.setattr(evaluation, "_free", lambda device: 2**34)
    small, large = measured(sizes=((500, 500), (1000, 1000))).rows
    assert small["faster"] == 3
    # Four times the pixels would take 32 of 16 GiB.
    assert large["faster"] is None
