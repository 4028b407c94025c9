"""Bicubic resizing: the golden arrays of the official resampler, exact cases, gradient."""

from __future__ import annotations

import math
import operator
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hcd.errors import ShapeError, UsageError
from hcd.ops import resize_bicubic
from hcd.ops.resize import _resampling
from tests import golden as gold


@pytest.mark.parametrize("factor", [Fraction(1, 2), Fraction(1, 4), 4])
@pytest.mark.parametrize("image", range(3))
def test_golden_arrays(golden, image, factor):
    arrays = gold.arrays(golden, "metrics")
    way = f"down{1 / factor}" if factor < 1 else f"up{factor}"
    wanted = torch.from_numpy(arrays[f"resize{image}_{way}"]).permute(2, 0, 1)[None]
    resized = resize_bicubic(gold.picture(arrays[f"resize{image}_u8"]), factor)
    assert resized.shape == wanted.shape
    assert float((resized - wanted).abs().max()) <= gold.spec(golden, "metrics")["resize_definition"]["tolerance"]


def reference(samples, factor):
    """One row resized by the textbook: for each output pixel the kernel's weights over mirrored neighbors."""

    def keys(x):
        x = abs(x)
        if x < 1:
            return 1 - 5 / 2 * x**2 + 3 / 2 * x**3
        return 2 - 4 * x + 5 / 2 * x**2 - 1 / 2 * x**3 if x < 2 else 0.0

    stretch = max(1, 1 / factor)
    mirrored = [*samples, *samples[::-1]]
    resized = []
    for index in range(math.ceil(len(samples) * factor)):
        center = (index + 0.5) / factor - 0.5
        reach = math.ceil(2 * stretch) + 1
        taps = range(math.floor(center) - reach, math.floor(center) + reach + 1)
        weights = [keys(float(center - tap) / float(stretch)) for tap in taps]
        values = [mirrored[tap % len(mirrored)] for tap in taps]
        resized.append(sum(map(operator.mul, weights, values)) / sum(weights))
    return resized


@given(
    samples=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20),
    factor=st.fractions(Fraction(1, 9), 9, max_denominator=9),
)
def test_agrees_with_the_textbook(samples, factor):
    row = torch.tensor(samples, dtype=torch.float64).expand(1, 2, 1, -1)
    resized = resize_bicubic(row, factor)
    for line in resized.flatten(0, 2):
        np.testing.assert_allclose(line.numpy(), reference(samples, factor), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("factor", "shape"),
    [(0.5, (1, 1)), (0.25, (13, 16)), (2, (1, 7)), (4, (5, 2)), (Fraction(2, 3), (13, 16)), (1.5, (1, 1))],
)
def test_a_constant_picture_stays_constant(shape, factor):
    image = torch.full((1, 3, *shape), 0.7, dtype=torch.float64)
    resized = resize_bicubic(image, factor)
    sides = [-(-side * Fraction(factor).numerator // Fraction(factor).denominator) for side in shape]
    assert resized.shape == (1, 3, *sides)
    torch.testing.assert_close(resized, torch.full_like(resized, 0.7))


def test_factor_one_is_the_identity(smooth_picture):
    torch.testing.assert_close(resize_bicubic(smooth_picture, 1), smooth_picture, rtol=0, atol=1e-6)


@pytest.mark.parametrize("factor", [Fraction(1, 4), 2])
def test_commutes_with_flips_and_transposition(smooth_picture, factor):
    resized = resize_bicubic(smooth_picture, factor)
    for dim in (-2, -1):
        torch.testing.assert_close(resize_bicubic(smooth_picture.flip(dim), factor), resized.flip(dim))
    torch.testing.assert_close(resize_bicubic(smooth_picture.mT, factor), resized.mT)


def test_a_ramp_stays_a_ramp():
    ramp = torch.arange(32, dtype=torch.float64).expand(1, 1, 8, 32)
    halved = resize_bicubic(ramp, 0.5)[0, 0, 0]
    # Away from the mirrored border, an average over a symmetric kernel is the value at the center.
    torch.testing.assert_close(halved[4:-4], 2 * torch.arange(4, 12, dtype=torch.float64) + 0.5)


@pytest.mark.parametrize("factor", [Fraction(1, 2), 2])
def test_gradient(factor):
    image = torch.rand(1, 2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resize_bicubic(x, factor), image)


@pytest.mark.parametrize("image", [torch.zeros(3, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)])
def test_needs_a_batch_of_floats(image):
    with pytest.raises(ShapeError, match=r"resize_bicubic: got .* needs float \[N, C, H, W\]"):
        resize_bicubic(image, 0.5)


@pytest.mark.parametrize("factor", [0, -1, -0.5])
def test_factor_must_be_positive(factor):
    with pytest.raises(UsageError, match="not positive"):
        resize_bicubic(torch.zeros(1, 3, 4, 4), factor)


def test_has_a_gradient_after_a_first_use_in_inference_mode():
    # The matrices are cached: one made in inference mode could not take part in autograd later.
    _resampling.cache_clear()
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        resize_bicubic(image, 0.5)
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(resize_bicubic(image, 0.5).sum(), image)
    assert float(gradient.sum()) == pytest.approx(4 * 4 * 3)


@pytest.mark.parametrize("factor", [Fraction(1, 4), 2, Fraction(3, 7)])
def test_long_sides_are_resampled_as_short_ones(factor):
    """The matrix is applied in blocks; their borders do not show."""
    wave = torch.sin(torch.arange(1400) / 3).double()
    whole = resize_bicubic(wave.expand(1, 1, 3, -1), factor)
    # A crop whose left border stays at the same phase, without what its own borders mirror.
    step = 7 * 4
    crop = resize_bicubic(wave[step * 20 :].expand(1, 1, 3, -1), factor)
    margin = 20
    offset = int(step * 20 * factor)
    torch.testing.assert_close(whole[..., offset + margin :], crop[..., margin:], rtol=0, atol=1e-12)
    turned = resize_bicubic(wave.expand(1, 1, 3, -1).mT, factor)
    torch.testing.assert_close(turned.mT, whole, rtol=0, atol=1e-12)


def test_the_longest_side_takes_little_memory():
    """An image of one row may have as many columns as pixels are allowed; a dense matrix would take 500 GB here."""
    blocks = _resampling(200_000, Fraction(2))
    assert sum(block.matrix.numel() for block in blocks) * 8 < 300 * 2**20
    assert resize_bicubic(torch.ones(1, 1, 1, 200_000), 2).sub(1).abs().max() < 1e-5
    _resampling.cache_clear()
