"""Padding against numpy's reflection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hcd.ops import pad_to_multiple


@given(height=st.integers(1, 11), width=st.integers(1, 11), multiple=st.integers(1, 16))
def test_agrees_with_numpy(height, width, multiple):
    image = torch.arange(2.0 * 3 * height * width).reshape(2, 3, height, width)
    missing = [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)]
    wanted = np.pad(image.numpy(), missing, mode="reflect")
    assert np.array_equal(pad_to_multiple(image, multiple).numpy(), wanted)


def test_a_single_pixel_is_repeated():
    image = torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1)
    assert torch.equal(pad_to_multiple(image, 8), image.expand(1, 3, 8, 8))


def test_the_mirror_stands_on_the_last_pixel():
    image = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    assert pad_to_multiple(image, 8)[0, 0, 0].tolist() == [1, 2, 3, 2, 1, 2, 3, 2]


def test_a_picture_that_fits_is_handed_back():
    image = torch.rand(1, 3, 8, 12)
    assert pad_to_multiple(image, 4) is image


@pytest.mark.parametrize("shape", [(5, 7), (1, 3)])
def test_gradient_reaches_every_copy(shape):
    image = torch.rand(1, 3, *shape, dtype=torch.float64, requires_grad=True)
    padded = pad_to_multiple(image, 4)
    (gradient,) = torch.autograd.grad(padded.sum(), image)
    # Each pixel's gradient is the number of places it was copied to.
    assert float(gradient.sum()) == padded.numel()
    assert float(gradient.min()) >= 1
