"""The noise field: pinned values, an independent reimplementation, tiles, and its moments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hcd.ops import gaussian_field


def lowbias32(x):
    x &= 0xFFFFFFFF
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def value_at(seed, channel, row, column):
    """One value of the field in Python's unbounded integers, as the docstring describes it."""
    counter = lowbias32(lowbias32(lowbias32(lowbias32(seed) + channel) + row) + column)
    total = 0
    for term in range(6):
        high, low = divmod(lowbias32(counter + term), 2**16)
        total += high + low
    return (total - 6 * 65535) / 65536


@given(
    seed=st.integers(0, 2**32 - 1),
    channel=st.integers(0, 3),
    row=st.integers(0, 2**31),
    column=st.integers(0, 2**31),
)
def test_equals_a_reimplementation(seed, channel, row, column):
    field = gaussian_field(seed, channel + 1, 1, 1, top=row, left=column)
    assert field[channel, 0, 0].item() == value_at(seed, channel, row, column)


def test_the_order_of_the_axes():
    field = gaussian_field(7, 2, 3, 4)
    wanted = [[[value_at(7, c, y, x) for x in range(4)] for y in range(3)] for c in range(2)]
    assert field.tolist() == wanted


@pytest.mark.parametrize(
    ("seed", "channel", "row", "column", "in_65536ths"),
    [
        (0, 0, 0, 0, -27773),
        (0, 0, 0, 1, 100673),
        (0, 0, 1, 0, -105556),
        (0, 1, 0, 0, -34824),
        (0, 44, 17, 23, -115290),
        (1, 0, 0, 0, -19315),
        (123456789, 2, 100, 200, -29494),
        (2**32 - 1, 188, 8, 11, -21090),
    ],
)
def test_pinned_values(seed, channel, row, column, in_65536ths):
    # A receiver in another language must find these: files depend on them, so they never change.
    field = gaussian_field(seed, channel + 1, row + 1, column + 1)
    assert field[channel, row, column].item() * 65536 == in_65536ths


@given(
    top=st.integers(0, 15),
    left=st.integers(0, 15),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_tile_is_the_crop_of_the_whole(top, left, height, width, seed):
    whole = gaussian_field(seed, 3, 25, 25)
    tile = gaussian_field(seed, 3, height, width, top=top, left=left)
    assert torch.equal(tile, whole[:, top : top + height, left : left + width])


def test_moments_are_those_of_a_normal_variable():
    field = gaussian_field(0, 16, 256, 256).double()
    count = field.numel()
    # Six standard errors of each moment.
    assert abs(float(field.mean())) < 6 / count**0.5
    assert abs(float(field.var()) - 1) < 6 * (2 / count) ** 0.5
    assert abs(float((field**3).mean())) < 6 * (15 / count) ** 0.5
    # Irwin–Hall of twelve terms: kurtosis 3 - 0.1.
    assert abs(float((field**4).mean()) - 2.9) < 6 * (96 / count) ** 0.5
    assert float(field.abs().max()) < 6


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_neighbors_are_uncorrelated(dim):
    field = gaussian_field(3, 32, 128, 128).double()
    length = field.shape[dim] - 1
    product = field.narrow(dim, 0, length) * field.narrow(dim, 1, length)
    assert abs(float(product.mean())) < 6 / product.numel() ** 0.5


def test_seeds_give_unrelated_fields():
    first, second = gaussian_field(0, 8, 128, 128).double(), gaussian_field(1, 8, 128, 128).double()
    assert abs(float((first * second).mean())) < 6 / first.numel() ** 0.5


def test_type_and_independence_of_the_global_generator():
    torch.manual_seed(1)
    first = gaussian_field(5, 2, 4, 4)
    torch.manual_seed(2)
    assert torch.equal(gaussian_field(5, 2, 4, 4), first)
    assert first.dtype == torch.float32
    assert first.shape == (2, 4, 4)
