"""Rounding: the exact values of a file, and straight-through gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hcd.ops import quantize


def test_hits_every_gray_level_to_the_bit():
    levels = torch.arange(256)
    wanted = torch.from_numpy(np.arange(256, dtype=np.float32) / np.float32(255))
    assert torch.equal(quantize(levels / 255), wanted)
    assert torch.equal(quantize(levels / 255 + 0.4 / 255), wanted)
    assert torch.equal(quantize(levels / 255 - 0.4 / 255), wanted)


@given(x=npst.arrays(np.float32, 20, elements=st.floats(-0.5, 1.5, width=32)))
def test_values_are_those_of_the_decoded_file(x):
    rounded = quantize(torch.from_numpy(x))
    pixels = np.rint(np.clip(x, 0, 1) * np.float32(255)).astype(np.uint8)
    assert np.array_equal(rounded.numpy(), pixels.astype(np.float32) / np.float32(255))


def test_ties_go_to_the_even_level():
    halves = torch.tensor([0.5, 1.5, 2.5, 253.5], dtype=torch.float64) / 255
    # Only those whose product with 255 is exactly a half are ties.
    assert (halves * 255).tolist() == [0.5, 1.5, 2.5, 253.5]
    assert (quantize(halves) * 255).round().tolist() == [0, 2, 2, 254]


def test_idempotent():
    rounded = quantize(torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2)
    assert torch.equal(quantize(rounded), rounded)


def test_sixteen_bit_levels():
    assert float(quantize(torch.tensor(0.3), levels=65535)) == np.float32(19660) / np.float32(65535)


@pytest.mark.parametrize("value", [-3.0, -0.01, 0.0, 0.1234, 0.5, 1.0, 1.2, 7.0])
def test_gradient_is_the_identity_also_where_clamped(value):
    x = torch.full((1,), value, requires_grad=True)
    (gradient,) = torch.autograd.grad((3 * quantize(x)).sum(), x)
    assert gradient.tolist() == [3.0]


def test_input_is_left_alone():
    x = torch.tensor([-1.0, 0.3, 2.0])
    quantize(x)
    assert torch.equal(x, torch.tensor([-1.0, 0.3, 2.0]))
