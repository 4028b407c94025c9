"""Roundings: what stands for the stored LR picture inside the loop, and what the method makes of it."""

from __future__ import annotations

import math

import pytest
import torch

import hcd
from hcd.collab import (
    ROUNDINGS,
    GumbelRounding,
    Rounding,
    SoftRounding,
    StraightThrough,
    Unrounded,
    get_rounding,
)
from hcd.errors import UsageError
from hcd.rescaler import GrayRescaler
from hcd.solver import LBFGS
from tests.conftest import make_tiny_irn

LEVEL = 1 / 255
every_rounding = pytest.mark.parametrize("rounding", ROUNDINGS.values(), ids=ROUNDINGS)
shares = pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])


def stand_in(rounding, lr, share=0.5, seed=0):
    return rounding.stand_in(lr, share, torch.Generator().manual_seed(seed))


def slopes(rounding, lr, share=0.5):
    variable = lr.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(stand_in(rounding, variable, share).sum(), variable)
    return gradient


@pytest.fixture
def lr():
    """Between levels, with both ends of the range in it."""
    lr = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    lr[..., 0] = 0.0
    lr[..., 1] = 1.0
    return lr


@every_rounding
@shares
def test_stays_in_the_range_within_a_level(rounding, lr, share):
    seen = stand_in(rounding, lr, share)
    assert float((seen - lr).abs().max()) <= LEVEL * (1 + 1e-4)
    assert float(seen.min()) >= -1e-6 * LEVEL
    assert float(seen.max()) <= 1 + 1e-6
    assert slopes(rounding, lr, share).isfinite().all()


@every_rounding
def test_the_file_is_the_picture(rounding, lr):
    assert torch.equal(rounding.stored(hcd.quantize(lr)), hcd.quantize(lr))


@every_rounding
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_precision(rounding, lr, dtype):
    assert stand_in(rounding, lr.to(dtype)).dtype == dtype


@every_rounding
def test_what_is_no_number_stays_so(rounding, lr):
    """A descent has to see that a step went wrong."""
    lr[0, 1, 5, 5] = math.nan
    assert stand_in(rounding, lr).isnan()[0, 1, 5, 5]


def test_unrounded_is_the_sample(lr):
    assert torch.equal(stand_in(Unrounded(), lr), lr)


def test_straight_through_is_the_file_with_the_gradient_of_the_identity(lr):
    assert torch.equal(stand_in(StraightThrough(), lr), hcd.quantize(lr))
    assert torch.equal(slopes(StraightThrough(), lr), torch.ones_like(lr))


class TestSoft:
    line = torch.linspace(0, 5, 5001, dtype=torch.float64) * LEVEL

    def test_begins_as_the_identity(self):
        torch.testing.assert_close(stand_in(SoftRounding(), self.line, 0.0), self.line, rtol=0, atol=1e-6 * LEVEL)

    def test_comes_nearer_to_rounding(self):
        away = [
            float((stand_in(SoftRounding(), self.line, share) - hcd.quantize(self.line)).abs().mean())
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        ]
        assert away == sorted(away, reverse=True)
        assert away[-1] < 0.5 * away[0]

    @shares
    def test_lies_between_both_and_rises(self, share):
        seen, rounded = stand_in(SoftRounding(), self.line, share), hcd.quantize(self.line)
        slack = 1e-6 * LEVEL
        assert (seen >= torch.minimum(self.line, rounded) - slack).all()
        assert (seen <= torch.maximum(self.line, rounded) + slack).all()
        assert (seen.diff() > 0).all()

    @shares
    def test_meets_both_at_levels_and_in_the_middle_between(self, share):
        fixed = torch.arange(0, 511, dtype=torch.float64) * LEVEL / 2
        torch.testing.assert_close(stand_in(SoftRounding(), fixed, share), fixed, rtol=0, atol=1e-6 * LEVEL)

    def test_the_formula(self):
        # Half way to sharpest = 4, at 0.7 of a level above the level 9.
        wanted = 9.5 + math.tanh(2 * 0.2) / (2 * math.tanh(1))
        seen = stand_in(SoftRounding(sharpest=4.0), torch.tensor([9.7 * LEVEL], dtype=torch.float64), 0.5)
        assert float(seen) == pytest.approx(wanted * LEVEL, rel=1e-9)

    @shares
    def test_gradients_are_those_of_finite_differences(self, share):
        # None across a border between two levels.
        sample = (torch.tensor([0.1, 3.4, 7.5, 200.8, 254.9], dtype=torch.float64) * LEVEL).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: stand_in(SoftRounding(), x, share), sample, eps=1e-6)

    @pytest.mark.parametrize("sharpest", [0.0, -1.0, math.nan, math.inf])
    def test_settings_that_cannot_be(self, sharpest):
        with pytest.raises(UsageError, match="sharpest"):
            SoftRounding(sharpest=sharpest)


class TestGumbel:
    def test_the_same_for_the_same_seed(self, lr):
        assert torch.equal(stand_in(GumbelRounding(), lr, seed=3), stand_in(GumbelRounding(), lr, seed=3))
        assert not torch.equal(stand_in(GumbelRounding(), lr, seed=3), stand_in(GumbelRounding(), lr, seed=4))

    def test_has_the_gradient_of_the_identity(self, lr):
        """Also at whole levels, where stages begin: the mixture's own is zero there."""
        for sample in (lr, hcd.quantize(lr)):
            assert torch.equal(slopes(GumbelRounding(), sample, 0.0), torch.ones_like(lr))

    def test_draws_anew_every_time(self, lr):
        generator = torch.Generator().manual_seed(0)
        first, second = (GumbelRounding().stand_in(lr, 0.5, generator) for _ in range(2))
        assert not torch.equal(first, second)

    def test_freezes(self, lr):
        inside = lr[..., 2:]
        away = [
            float((seen - hcd.quantize(seen)).abs().mean()) / LEVEL
            for seen in (stand_in(GumbelRounding(), inside, share) for share in (0.0, 0.5, 1.0))
        ]
        assert away == sorted(away, reverse=True)
        assert away[-1] < 0.01 < 0.05 < away[0]

    def test_ends_at_the_nearest_level_nearly_always(self, lr):
        nearest = (stand_in(GumbelRounding(), lr, 1.0) - hcd.quantize(lr)).abs() < 0.01 * LEVEL
        assert nearest.float().mean() > 0.9

    def test_takes_the_nearer_level_more_often(self):
        place = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)[:, None]
        levels = stand_in(GumbelRounding(), (7 + place).expand(-1, 4000) * LEVEL, 0.0) / LEVEL - 7
        means = levels.mean(dim=1).tolist()
        assert means == sorted(means)
        assert means[2] == pytest.approx(0.5, abs=0.03)
        assert means[0] == pytest.approx(1 - means[4], abs=0.03)

    def test_white_stays_white(self):
        """Among a million samples, some would be drawn to the level beyond."""
        white = torch.ones(1, 1, 1000, 1000)
        assert float(stand_in(GumbelRounding(), white, 0.0).max()) <= 1

    @pytest.mark.parametrize(
        "wrong", [{"coldest": 0.0}, {"coldest": 0.6}, {"warmest": math.nan}, {"warmest": 0.01}, {"warmest": math.inf}]
    )
    def test_settings_that_cannot_be(self, wrong):
        with pytest.raises(UsageError, match="coldest"):
            GumbelRounding(**wrong)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UsageError, match=r"unknown rounding 'softly'\. Did you mean 'soft'.*straight-through"):
        get_rounding("softly")
    assert get_rounding("soft") == SoftRounding()


class TestThroughTheMethod:
    @pytest.mark.parametrize("name", ROUNDINGS)
    @pytest.mark.parametrize("settings", [{"steps_lr": 5}, {"steps_lr": 0, "steps_both": 4, "stages": ("both",)}])
    def test_never_worse_and_the_same_again(self, photo, name, settings):
        model = make_tiny_irn(4)
        first, again = (hcd.collaborate(photo, model, "fast", rounding=name, **settings) for _ in range(2))
        assert first.psnr[0] >= first.plain_psnr[0]
        assert first.grad_evals == max(settings.values(), key=lambda value: value if isinstance(value, int) else 0)
        assert torch.equal(first.lr, again.lr)
        assert [entry.loss for entry in first.history] == [entry.loss for entry in again.history]

    @pytest.mark.parametrize("name", ROUNDINGS)
    def test_improves(self, photo, name):
        result = hcd.collaborate(photo, make_tiny_irn(4), "balanced", rounding=name)
        assert result.psnr[0] > result.plain_psnr[0] + 0.1

    @pytest.mark.parametrize("name", ROUNDINGS)
    def test_gray(self, photo, name):
        gray = photo.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        result = hcd.collaborate(gray, GrayRescaler(make_tiny_irn(2)), "fast", rounding=name)
        assert result.psnr[0] >= result.plain_psnr[0]

    def test_straight_through_is_measured_on_the_file(self, photo):
        """The loop sees rounded pictures, so that its best figure is that of the result but for rounding HR."""
        result = hcd.collaborate(photo, make_tiny_irn(4), "balanced", rounding="straight-through")
        assert result.psnr[0] >= max(entry.psnr for entry in result.history) - 0.01

    @pytest.mark.parametrize("rule", [LBFGS(), "gauss-newton"], ids=["gradients", "products"])
    def test_the_share_rises_to_the_last_evaluation(self, photo, rule):
        """Products with the curvature are evaluations, too."""

        class Watched(Rounding):
            def __init__(self):
                self.shares = []

            def stand_in(self, lr, share, generator):
                self.shares.append(share)
                return lr

        watched = Watched()
        result = hcd.collaborate(photo, make_tiny_irn(4), steps_lr=9, rounding=watched, rule=rule)
        gradients = [(entry.step - 1) / 9 for entry in result.history]
        assert gradients[-1] == pytest.approx(8 / 9)
        # Those that gradients were taken at; products with the curvature of a point share the point's.
        assert sorted(set(watched.shares)) == pytest.approx([0.0, *(e.step / 9 for e in result.history[:-1])])

    def test_the_seed_is_that_of_the_settings(self, photo):
        options = {"rounding": "gumbel", "steps_lr": 3}
        losses = [
            [entry.loss for entry in hcd.collaborate(photo, make_tiny_irn(4), seed=seed, **options).history]
            for seed in (0, 1)
        ]
        assert losses[0] != losses[1]
