"""The model of a benchmark, and the processes it is measured in."""

from __future__ import annotations

import os

import pytest
import torch

from hcd.errors import UsageError
from hcd.heap import keeps_freed
from hcd_lab.bench import BenchmarkModel, benchmark_model, parse_blocks, parse_size
from hcd_lab.bench.benchmark_model import in_fresh_process
from tests.glibc import ON_GLIBC


def test_sizes_are_sides_or_width_by_height():
    assert parse_size("512") == (512, 512)
    assert parse_size(" 6000X4000 ") == (4000, 6000)


@pytest.mark.parametrize("text", ["", "12x", "x12", "-4", "1.5", "4x4x4"])
def test_other_sizes_are_named(text):
    with pytest.raises(UsageError, match="use a side in pixels, or WIDTHxHEIGHT"):
        parse_size(text)


def test_blocks_are_numbers_with_commas():
    assert parse_blocks("8, 4") == (8, 4)
    with pytest.raises(UsageError, match="blocks 8,x: use numbers with commas between"):
        parse_blocks("8,x")


@pytest.mark.parametrize("blocks", [(), (2, 0)])
def test_blocks_without_couplings_are_named(blocks):
    with pytest.raises(UsageError, match="need one or more couplings per level"):
        BenchmarkModel(blocks=blocks)


@pytest.mark.parametrize("sizes", [(), ((2, 256),)])
def test_sizes_that_cannot_be_measured_are_named(sizes):
    with pytest.raises(UsageError, match="need one or more, with sides of at least 4"):
        BenchmarkModel().check_sizes(sizes)


def test_random_weights_come_from_a_seed_and_do_something():
    first, second = (BenchmarkModel(blocks=(1, 1)).build() for _ in range(2))
    assert first.scale == 4
    weights = first.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in second.state_dict().items())
    assert not any(weight.requires_grad for weight in first.parameters())
    # The published network starts with last convolutions of zero, which would cost the same and show nothing.
    assert all(weight.abs().max() > 0 for name, weight in first.named_parameters() if name.endswith("conv5.weight"))


def test_a_named_model_replaces_random_weights():
    assert BenchmarkModel(name="bicubic-x2").build().name == "bicubic-x2"


def test_a_fresh_process_is_another_one_and_keeps_freed_memory_if_this_one_does(monkeypatch):
    assert in_fresh_process(os.getpid) != os.getpid()
    monkeypatch.setattr(benchmark_model, "keeps_freed", lambda: True)
    assert in_fresh_process(keeps_freed) == ON_GLIBC


def test_an_error_in_a_fresh_process_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        in_fresh_process(divmod, 1, 0)


def test_the_machine_is_described():
    machine = BenchmarkModel(threads=3).machine()
    assert (machine["threads"], machine["device"], machine["torch"]) == (3, "cpu", torch.__version__)
