"""What benchmarks run, and what they read from a command line."""

from __future__ import annotations

import os

import pytest
import torch

from hcd.errors import UsageError
from hcd.heap import keeps_freed
from hcd_lab.bench import benchmark_model as subject
from hcd_lab.bench import parse_blocks, parse_size
from hcd_lab.bench.benchmark_model import build_subject, check_blocks, describe_machine, in_fresh_process
from tests.glibc import ON_GLIBC


def test_sizes_are_sides_or_width_by_height():
    assert parse_size("512") == (512, 512)
    assert parse_size(" 6000X4000 ") == (4000, 6000)


@pytest.mark.parametrize("text", ["", "x", "12x", "x12", "-4", "1.5", "4x4x4", "big"])
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
        check_blocks(blocks)


def test_random_weights_are_the_same_every_time_and_do_something():
    first, second = (build_subject((1, 1)) for _ in range(2))
    assert first.scale == 4
    weights = first.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in second.state_dict().items())
    assert not any(weight.requires_grad for weight in first.parameters())
    # The published network starts with last convolutions of zero, which would cost the same and show nothing.
    assert all(weight.abs().max() > 0 for name, weight in first.named_parameters() if name.endswith("conv5.weight"))


def test_a_named_model_is_taken_instead():
    assert build_subject((1, 1), "bicubic-x2").name == "bicubic-x2"


def test_a_fresh_process_is_another_one():
    assert in_fresh_process(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        in_fresh_process(divmod, 1, 0)


def test_a_fresh_process_keeps_what_it_frees_where_this_one_does(monkeypatch):
    assert not in_fresh_process(keeps_freed)
    monkeypatch.setattr(subject, "keeps_freed", lambda: True)
    assert in_fresh_process(keeps_freed) == ON_GLIBC


def test_the_machine_is_described():
    assert describe_machine(3)["threads"] == 3
