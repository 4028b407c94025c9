"""Losses: values by hand and by the metrics, gradients, sums over tiles."""

from __future__ import annotations

import math

import pytest
import torch

import hcd
from hcd.collab import LOSSES, Charbonnier, Mixed, SquaredError, get_loss
from hcd.errors import UsageError
from hcd.tiling import split

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def pair(height=13, width=17, *, spread=0.1, dtype=torch.float64):
    """A picture and a disturbed one."""
    generator = torch.Generator().manual_seed(height)
    hr = torch.rand(1, 3, height, width, generator=generator, dtype=dtype)
    return hr + spread * torch.randn(hr.shape, generator=generator, dtype=dtype), hr


@every_loss
def test_zero_where_equal_and_only_there(loss):
    hr_hat, hr = pair()
    total = loss.total(hr, hr)
    assert total.shape == ()
    assert float(total) == pytest.approx(0.0, abs=1e-12)
    assert float(loss.total(hr_hat, hr)) > 0.01


@every_loss
def test_equal_pictures_have_no_slope(loss):
    _, hr = pair()
    for picture in (hr, torch.full_like(hr, 0.25)):
        variable = picture.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss.total(variable, picture), variable)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


@every_loss
def test_gradients_are_those_of_finite_differences(loss):
    hr_hat, hr = pair(5, 6)
    assert torch.autograd.gradcheck(lambda x: loss.total(x, hr), hr_hat.requires_grad_())


@every_loss
def test_a_batch_is_its_pictures(loss):
    hr_hat, hr = (torch.cat([x, 0.5 * x.flip(-1)]) for x in pair())
    singles = sum(float(loss.total(hr_hat[i : i + 1], hr[i : i + 1])) for i in range(2))
    assert float(loss.total(hr_hat, hr)) == pytest.approx(singles)


@pytest.mark.parametrize("name", LOSSES)
def test_tiles_add_up(name):
    hr_hat, hr = pair()
    tiles = split(13, 17, window=6, halo=0)
    assert len(tiles) > 4
    parts = sum(float(LOSSES[name].total(hr_hat[(..., *t.core())], hr[(..., *t.core())])) for t in tiles)
    assert float(LOSSES[name].total(hr_hat, hr)) == pytest.approx(parts)


@pytest.mark.parametrize("channel", ["rgb", "y"])
def test_a_squared_error_is_what_psnr_measures(channel):
    hr_hat, hr = pair()
    mean = float(SquaredError(channel=channel).total(hr_hat, hr)) / (13 * 17)
    assert -10 * math.log10(mean) == pytest.approx(hcd.psnr(hr_hat, hr, channel=channel))


def test_a_squared_error_by_hand():
    hr = torch.full((1, 3, 1, 2), 0.5, dtype=torch.float64)
    hr_hat = hr.clone()
    hr_hat[0, 1, 0, 0] += 0.3
    assert float(SquaredError().total(hr_hat, hr)) == pytest.approx(0.09 / 3)
    assert float(SquaredError(channel="y").total(hr_hat, hr)) == pytest.approx((0.3 * 128.553 / 255) ** 2)


@pytest.mark.parametrize(
    ("error", "cost"),
    [(0.0, 0.0), (3**0.5, 1.0), (0.01, 0.5e-4), (-1e4, 1e4 - 1)],
    ids=["none", "between", "small ones by their square", "large ones by their size"],
)
def test_charbonnier_in_units_of_its_epsilon(error, cost):
    hr = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    hr_hat = hr.clone()
    hr_hat[0, :, 1, 0] = error * 0.02
    assert float(Charbonnier(epsilon=0.02).total(hr_hat, hr)) == pytest.approx(0.02 * cost, rel=1e-4)


def test_a_mixture_is_the_weighted_sum():
    hr_hat, hr = pair()
    parts = (SquaredError(), Charbonnier(), SquaredError(channel="y"))
    wanted = sum(weight * float(part.total(hr_hat, hr)) for weight, part in zip((0.5, 2.0, 0.0), parts, strict=True))
    assert float(Mixed(((0.5, parts[0]), (2.0, parts[1]), (0.0, parts[2]))).total(hr_hat, hr)) == pytest.approx(wanted)


def test_terms_are_what_a_loss_is_a_sum_of():
    rgb, y, robust = SquaredError(), SquaredError(channel="y"), Charbonnier()
    assert rgb.terms == ((1.0, rgb),)
    assert Mixed(((0.5, rgb), (0.25, y))).terms == ((0.5, rgb), (0.25, y))
    assert Mixed(((0.5, Mixed(((1.0, robust), (2.0, y)))), (0.0, rgb))).terms == ((0.5, robust), (1.0, y))


@every_loss
def test_a_loss_is_the_sum_of_its_terms(loss):
    hr_hat, hr = pair()
    wanted = sum(weight * float(term.total(hr_hat, hr)) for weight, term in loss.terms)
    assert float(loss.total(hr_hat, hr)) == pytest.approx(wanted)


@every_loss
def test_takes_single_precision_and_any_size(loss):
    for size in ((1, 1), (1, 9), (30, 2)):
        hr_hat, hr = pair(*size, dtype=torch.float32)
        total = loss.total(hr_hat, hr)
        assert total.dtype == torch.float32
        assert float(total) == pytest.approx(float(loss.total(hr_hat.double(), hr.double())), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SquaredError(channel="Y"), "unknown channel 'Y'"),
        (lambda: Charbonnier(epsilon=0.0), "epsilon 0.0"),
        (lambda: Charbonnier(epsilon=math.nan), "epsilon nan"),
        (lambda: Charbonnier(epsilon=math.inf), "epsilon inf"),
        (lambda: Mixed(()), "at least one weight above 0"),
        (lambda: Mixed(((0.0, SquaredError()),)), "at least one weight above 0"),
        (lambda: Mixed(((-1.0, SquaredError()),)), "weights of 0 or more"),
        (lambda: Mixed(((math.nan, SquaredError()),)), "weights of 0 or more"),
        (lambda: Mixed(((math.inf, SquaredError()),)), "weights of 0 or more"),
        (lambda: get_loss("charbonier"), r"unknown loss 'charbonier'\. Did you mean 'charbonnier'"),
    ],
)
def test_settings_that_cannot_be(make, told):
    with pytest.raises(UsageError, match=told):
        make()


def test_names_stand_for_losses():
    assert get_loss("y") == SquaredError(channel="y")
    assert list(LOSSES) == ["rgb", "y", "rgb+y", "charbonnier"]
