"""``hcd bench``: a small run of it, and what it refuses."""

from __future__ import annotations

import importlib
import json

import pytest
import torch

from hcd_lab.bench import BenchResult, EvaluationBenchmark


@pytest.mark.slow
def test_a_small_run(hcd, tmp_path):
    file = tmp_path / "figures.json"
    arguments = ("--sizes", "64x48", "--blocks", "1,1", "--repeats", "1", "--threads", "1", "--precisions", "float32")
    result = hcd("bench", "evaluation", *arguments, "--stages", "lr", "--json", file)
    assert result.exit_code == 0, result.output
    assert "64×48" in result.stdout
    figures = json.loads(file.read_text())
    assert figures["machine"]["threads"] == 1
    assert figures["machine"]["torch"] == torch.__version__
    (one,) = figures["rows"]
    assert (one["stage"], one["height"], one["width"]) == ("lr", 48, 64)
    assert one["seconds"] > 0
    assert one["reference_seconds"] > 0
    assert one["convolution_flops"] > 0


@pytest.mark.slow
def test_a_small_run_of_pictures(hcd, tmp_path):
    file = tmp_path / "figures.json"
    arguments = ("--sizes", "64x48", "--presets", "fast", "--steps-lr", "1", "--blocks", "1,1", "--threads", "1")
    result = hcd("bench", "pictures", *arguments, "--reference-up-to", "0", "--json", file)
    assert result.exit_code == 0, result.output
    assert "fast 64×48: " in result.stderr
    assert "64×48" in result.stdout
    # What random weights gain means nothing.
    assert "dB" in result.stdout
    assert "+" not in result.stdout
    (one,) = json.loads(file.read_text())["rows"]
    assert (one["preset"], one["height"], one["width"], one["evaluations"]) == ("fast", 48, 64, 1)
    assert one["cpu_seconds_per_megapixel"] > 0
    assert one["paper_seconds"] is None


def test_the_command_names_bad_values(hcd):
    for arguments, message in (
        (("evaluation", "--blocks", "8,x"), "use numbers with commas between"),
        (("evaluation", "--sizes", "big"), "use a side in pixels"),
        (("evaluation", "--device", "warp"), "device 'warp': not available here"),
        (("pictures", "--device", "warp"), "device 'warp': not available here"),
        (("pictures", "--blocks", "8,x"), "use numbers with commas between"),
        (("pictures", "--presets", "plain"), "has no evaluations to measure"),
        (("evaluatio",), "Did you mean 'evaluation'?"),
    ):
        result = hcd("bench", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr


def test_without_a_name_evaluations_are_measured(hcd, monkeypatch):
    measured = []

    def measure(settings, *, on_row):
        measured.append(settings)
        return BenchResult(benchmark="evaluation", machine={"device": "cpu", "threads": 1})

    monkeypatch.setattr(importlib.import_module("hcd_lab.bench"), "bench_evaluation", measure)
    result = hcd("bench")
    assert result.exit_code == 0, result.output
    assert measured == [EvaluationBenchmark()]
