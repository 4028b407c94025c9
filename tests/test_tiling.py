"""Tiles: they cover the picture once, and what is computed in them is what is computed on the whole."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hcd.errors import UsageError
from hcd.tiling import cheapest_window, map_tiles, split, sum_tiles


@st.composite
def splittings(draw):
    """A picture's size, and a window and halo that go together."""
    halo = draw(st.integers(0, 5))
    return (
        draw(st.integers(1, 40)),
        draw(st.integers(1, 40)),
        {"halo": halo, "window": 2 * halo + draw(st.integers(1, 20))},
    )


@given(splittings())
def test_cores_tile_the_picture_exactly(splitting):
    height, width, sizes = splitting
    times = torch.zeros(height, width, dtype=torch.int64)
    for tile in split(height, width, **sizes):
        assert tile.top < tile.bottom
        assert tile.left < tile.right
        times[tile.core()] += 1
    assert (times == 1).all()


@given(splittings())
def test_windows_hold_core_and_halo_inside_the_picture(splitting):
    height, width, sizes = splitting
    halo = sizes["halo"]
    for tile in split(height, width, **sizes):
        rows, columns = tile.window()
        assert rows.start == max(0, tile.top - halo)
        assert rows.stop == min(height, tile.bottom + halo)
        assert columns.start == max(0, tile.left - halo)
        assert columns.stop == min(width, tile.right + halo)
        assert rows.stop - rows.start <= sizes["window"]
        assert columns.stop - columns.start <= sizes["window"]


def computed(height, width, window, halo):
    """Pixels of all windows, and of the largest."""
    sizes = [
        (tile.window_bottom - tile.window_top) * (tile.window_right - tile.window_left)
        for tile in split(height, width, window=window, halo=halo)
    ]
    return sum(sizes), max(sizes)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5), st.integers(1, 400))
def test_the_cheapest_window_computes_least(height, width, halo, spare):
    area = (2 * halo + 1) ** 2 + spare
    window = cheapest_window(height, width, area=area, halo=halo)
    total, largest = computed(height, width, window, halo)
    assert largest <= area
    least = 2 * halo + 1
    for rows in range(least, max(height, least) + 1):
        # A window that is longer than the picture is as long as the picture.
        columns = area // min(rows, height)
        if columns >= least:
            tiles = split(height, width, window=(rows, columns), halo=halo)
            # Halos of smaller cores end at the borders more than once a side.
            if min(min(tile.bottom - tile.top, tile.right - tile.left) for tile in tiles) >= halo:
                assert total <= computed(height, width, (rows, columns), halo)[0]


def test_windows_need_not_be_square():
    window = cheapest_window(1000, 1500, area=113000, halo=10)
    assert computed(1000, 1500, window, 10)[0] < computed(1000, 1500, 336, 10)[0]
    assert cheapest_window(12, 1000, area=6000, halo=8) == (17, 350)


def test_a_window_without_a_core_is_named():
    with pytest.raises(UsageError, match="area 24: leaves no core in windows with a halo of 2; needs 25"):
        cheapest_window(100, 100, area=24, halo=2)


@given(splittings())
def test_cores_are_nearly_equal(splitting):
    height, width, sizes = splitting
    tiles = split(height, width, **sizes)
    for begin, end in (("top", "bottom"), ("left", "right")):
        lengths = {getattr(tile, end) - getattr(tile, begin) for tile in tiles}
        assert max(lengths) - min(lengths) <= 1


@given(splittings(), st.integers(1, 4))
def test_the_core_is_found_in_its_window(splitting, scale):
    height, width, sizes = splitting
    picture = torch.arange(height * width * scale**2).reshape(height * scale, width * scale)
    for tile in split(height, width, **sizes):
        assert torch.equal(picture[tile.window(scale)][tile.core_in_window(scale)], picture[tile.core(scale)])


def test_a_picture_that_fits_is_one_tile():
    (tile,) = split(7, 20, window=20, halo=9)
    assert tile.core() == tile.window() == (slice(0, 7), slice(0, 20))
    assert len(split(7, 21, window=20, halo=9)) == 11


KERNEL = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def convolve(piece, tile=None):
    """Looks one pixel far; a nonlinearity, so that its gradient depends on where it is taken."""
    return torch.tanh(F.conv2d(piece, KERNEL, padding=1))


def random_picture(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def assert_equal(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def gradient_of(y, x):
    weights = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(2))
    return torch.autograd.grad((y * weights).sum(), x)[0]


CASES = [(1, 5), (1, 9), (2, 7), (3, 50)]
cases = pytest.mark.parametrize(("halo", "window"), CASES, ids=lambda value: str(value))


class TestMap:
    @cases
    def test_values_and_gradients_are_those_of_the_whole(self, halo, window):
        x = random_picture(2, 3, 17, 12)
        whole, tiled = convolve(x), map_tiles(convolve, x, split(17, 12, window=window, halo=halo))
        assert_equal(tiled, whole)
        assert_equal(gradient_of(tiled, x), gradient_of(whole, x))

    def test_without_a_halo_there_are_seams(self):
        x = random_picture(1, 3, 17, 12)
        whole, tiled = convolve(x), map_tiles(convolve, x, split(17, 12, window=5, halo=0))
        wrong = (tiled - whole).abs().amax(dim=(0, 1)) > 1e-6
        assert wrong.any()
        assert not wrong[1:3, 1:3].any()
        assert (gradient_of(tiled, x) - gradient_of(whole, x)).abs().max() > 1e-3

    @pytest.mark.parametrize(("scale_in", "scale_out"), [(3, 1), (1, 3), (2, 3)])
    def test_scales_of_input_and_output(self, scale_in, scale_out):
        def rescale(piece, tile=None):
            up = piece.repeat_interleave(scale_out, dim=2).repeat_interleave(scale_out, dim=3)
            return F.avg_pool2d(convolve(up), scale_in)

        x = random_picture(2, 3, 11 * scale_in, 8 * scale_in)
        tiles = split(11, 8, window=5, halo=1)
        tiled = map_tiles(rescale, x, tiles, scale_in=scale_in, scale_out=scale_out)
        assert tiled.shape == (2, 4, 11 * scale_out, 8 * scale_out)
        assert_equal(tiled, rescale(x))
        assert_equal(gradient_of(tiled, x), gradient_of(rescale(x), x))

    def test_the_function_is_told_its_tile(self):
        x = random_picture(1, 1, 9, 9)
        tiles = split(9, 9, window=5, halo=1)
        seen = []

        def note(piece, tile):
            assert torch.equal(piece, x[(..., *tile.window())])
            seen.append(tile)
            return piece

        map_tiles(note, x, tiles)
        assert seen == tiles

    def test_memory_follows_the_window(self):
        """No tile's graph outlives the tile."""
        alive, most = set(), 0

        class Watched(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                nonlocal most
                alive.add(id(ctx))
                most = max(most, len(alive))
                return x.clone()

            @staticmethod
            def backward(ctx, gradient):
                alive.discard(id(ctx))
                return gradient

        x = random_picture(1, 3, 12, 12)
        tiled = map_tiles(lambda piece, tile: Watched.apply(piece), x, split(12, 12, window=4, halo=0))
        alive.clear()
        most = 0
        gradient_of(tiled, x)
        assert most == 1


def error(piece, tile):
    """A sum over the core that weighs every pixel by its place."""
    rows, columns = tile.core()
    weights = 1 + torch.arange(rows.start, rows.stop)[:, None] + 0.1 * torch.arange(columns.start, columns.stop)
    return (convolve(piece)[(..., *tile.core_in_window())] * weights).square().sum()


class TestSum:
    @cases
    def test_value_and_gradient_are_those_of_the_whole(self, halo, window):
        x = random_picture(2, 3, 17, 12)
        (one,) = split(17, 12, window=17, halo=0)
        whole, tiled = error(x, one), sum_tiles(error, x, split(17, 12, window=window, halo=halo))
        torch.testing.assert_close(tiled, whole, rtol=1e-12, atol=0)
        (wanted,), (got,) = (torch.autograd.grad(3 * value, x) for value in (whole, tiled))
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)

    def test_without_a_halo_it_is_another_sum(self):
        x = random_picture(1, 3, 17, 12)
        (one,) = split(17, 12, window=17, halo=0)
        whole, tiled = error(x, one), sum_tiles(error, x, split(17, 12, window=5, halo=0))
        assert abs(float(tiled.detach() / whole.detach()) - 1) > 1e-3

    @pytest.mark.parametrize("wanted", [True, False])
    def test_every_tile_is_computed_once(self, wanted):
        x = random_picture(1, 3, 9, 9).detach().requires_grad_(wanted)
        modes = []

        def counted(piece, tile):
            modes.append(torch.is_grad_enabled() and piece.requires_grad)
            return piece.square().sum()

        tiles = split(9, 9, window=4, halo=0)
        value = sum_tiles(counted, x, tiles)
        if wanted:
            torch.autograd.grad(value, x)
        assert modes == [wanted] * len(tiles)

    def test_what_a_function_raises_ends_it(self):
        numbers = itertools.count(1)

        def stopping(piece, tile):
            if next(numbers) == 3:
                raise KeyboardInterrupt
            return piece.sum()

        with pytest.raises(KeyboardInterrupt):
            sum_tiles(stopping, random_picture(1, 3, 9, 9), split(9, 9, window=4, halo=0))
        assert next(numbers) == 4
