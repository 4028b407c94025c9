"""Regions: projections are feasible and idempotent; files keep their distance from the plain LR."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hcd
from hcd.collab.region import Region, near
from hcd.ops import NORMS, ball_norm
from hcd.rescaler import GrayRescaler
from hcd.solver import LBFGS
from tests.conftest import make_tiny_irn

LEVEL = 1 / 255
LONG = LBFGS(first_step=0.2, max_step=0.2)


def noise(shape, seed, spread=1.0):
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rms(x):
    return float(x.double().square().mean().sqrt())


@st.composite
def regions(draw):
    """A region whose center keeps all bounds, as those of an LR stage do, and a point anywhere."""
    seed, norm = draw(st.integers(0, 999)), draw(st.sampled_from(NORMS))
    shape = (1, 3, draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    anchor = hcd.quantize(torch.rand(shape, generator=torch.Generator().manual_seed(seed)))
    change = draw(st.sampled_from([0, 1, 7, 255]))
    low, high = (anchor - change / 255).clamp(min=0), (anchor + change / 255).clamp(max=1)
    radius = draw(st.sampled_from([0.0, 0.3 * LEVEL, 2 * LEVEL, 0.1, math.inf]))
    center = (anchor + noise(shape, seed + 1, 0.02)).maximum(low).minimum(high)
    epsilon = draw(st.sampled_from([0.0, 0.01, 0.5, 4.0, math.inf]))
    region = Region(
        center=near(center, anchor, radius),
        norm=norm,
        epsilon=epsilon,
        low=low,
        high=high,
        anchor=anchor,
        radius=radius,
    )
    return region, region.center + noise(shape, seed + 2, draw(st.sampled_from([0.001, 0.05, 1.0])))


class TestProjection:
    @given(pair=regions())
    def test_is_inside_everything_at_once(self, pair):
        region, x = pair
        inside = region.project(x)
        assert inside.shape == x.shape
        assert ball_norm(inside - region.center, region.norm) <= region.epsilon * (1 + 1e-4) + 1e-5
        assert bool((inside >= region.low - 1e-7).all())
        assert bool((inside <= region.high + 1e-7).all())
        assert rms(inside - region.anchor) <= region.radius * (1 + 1e-6) + 1e-7

    @given(pair=regions())
    def test_is_idempotent(self, pair):
        region, x = pair
        inside = region.project(x)
        torch.testing.assert_close(region.project(inside), inside, rtol=0, atol=0.02 * LEVEL)

    @given(pair=regions())
    def test_keeps_the_center(self, pair):
        region, _ = pair
        torch.testing.assert_close(region.project(region.center), region.center, rtol=0, atol=1e-7)

    @given(pair=regions())
    def test_points_inside_stay(self, pair):
        """On the way from the center to a feasible point, everything is feasible; to a fiftieth of a gray level."""
        region, x = pair
        between = region.center + 0.5 * (region.project(x) - region.center)
        torch.testing.assert_close(region.project(between), between, rtol=0, atol=0.02 * LEVEL)

    @given(pair=regions())
    def test_the_box_holds_what_is_projected(self, pair):
        region, x = pair
        box = region.box()
        if box is None:
            assert region.norm != "linf"
            assert math.isfinite(region.epsilon)
            return
        inside = region.project(x)
        assert bool(((inside >= box[0] - 1e-7) & (inside <= box[1] + 1e-7)).all())
        # Without the anchor, it is all there is.
        whole = Region(center=region.center, norm=region.norm, epsilon=region.epsilon)
        low, high = whole.box()
        torch.testing.assert_close(whole.project(x), x.maximum(low).minimum(high), rtol=0, atol=1e-6)

    def test_reaches_the_anchors_ball_and_not_less(self):
        anchor = torch.full((1, 3, 8, 8), 0.5)
        center = near(anchor + noise(anchor.shape, 0, 0.01), anchor, 0.02)
        region = Region(center=center, norm="linf", epsilon=math.inf, anchor=anchor, radius=0.02)
        inside = region.project(center + noise(anchor.shape, 1, 0.1))
        assert rms(inside - anchor) == pytest.approx(0.02, rel=1e-5)

    def test_what_is_no_number_stays_so(self):
        anchor = torch.full((1, 3, 2, 2), 0.5)
        region = Region(center=anchor, norm="linf", epsilon=0.1, anchor=anchor, radius=0.01)
        assert region.project(anchor * math.nan).isnan().all()

    @given(seed=st.integers(0, 99), epsilon=st.floats(0.0, 3.0))
    def test_random_points_lie_in_the_ball(self, seed, epsilon):
        region = Region(center=torch.full((1, 3, 4, 5), 0.5), norm="l2", epsilon=epsilon)
        points = [region.random_point(torch.Generator().manual_seed(seed)) for _ in range(2)]
        assert torch.equal(*points)
        assert ball_norm(points[0] - region.center, "l2") <= epsilon * (1 + 1e-5) + 1e-6


class TestNear:
    @given(seed=st.integers(0, 99), radius=st.sampled_from([0.0, 0.001, 0.05, 1.0, math.inf]))
    def test_moves_no_further_than_it_must(self, seed, radius):
        anchor, x = noise((1, 3, 4, 5), seed), noise((1, 3, 4, 5), seed) + noise((1, 3, 4, 5), seed + 1, 0.05)
        moved = near(x, anchor, radius)
        if rms(x - anchor) <= radius:
            assert torch.equal(moved, x)
        else:
            assert rms(moved - anchor) == pytest.approx(radius, rel=1e-4, abs=1e-7)
            torch.testing.assert_close(moved - anchor, radius / rms(x - anchor) * (x - anchor), rtol=1e-3, atol=1e-6)

    def test_the_anchor_itself(self):
        anchor = noise((1, 3, 2, 2), 0)
        assert torch.equal(near(anchor, anchor, 0.0), anchor)


class TestFilesKeepTheirDistance:
    @pytest.fixture
    def photo(self, photo):
        return photo[..., 10:38, 4:40].contiguous()

    @pytest.mark.parametrize("min_lr_psnr", [30.0, 40.0, 50.0, math.inf])
    @pytest.mark.parametrize(
        "steps",
        [{"steps_lr": 4}, {"steps_hr": 3, "steps_lr": 2}, {"steps_hr": 3, "steps_lr": 0}],
        ids=str,
    )
    def test_by_psnr(self, photo, min_lr_psnr, steps):
        result = hcd.collaborate(photo, make_tiny_irn(4), "fast", min_lr_psnr=min_lr_psnr, rule=LONG, **steps)
        assert hcd.psnr(result.lr, result.plain_lr, channel="rgb") >= min_lr_psnr
        assert torch.equal(hcd.quantize(result.lr), result.lr)
        assert result.psnr[0] >= result.plain_psnr[0]
        if min_lr_psnr <= 40:
            assert not torch.equal(result.lr, result.plain_lr)

    @pytest.mark.parametrize("direction", ["collaborative", "adversarial"])
    @pytest.mark.parametrize("gray", [False, True], ids=["color", "gray"])
    def test_with_every_other_bound(self, photo, direction, gray):
        model = GrayRescaler(make_tiny_irn(4)) if gray else make_tiny_irn(4)
        result = hcd.collaborate(
            photo,
            model,
            "fast",
            rule=LONG,
            direction=direction,
            min_lr_psnr=44.0,
            max_change=2,
            norm="l2",
            epsilon_lr=0.3,
            never_worse=False,
        )
        assert hcd.psnr(result.lr, result.plain_lr, channel="rgb") >= 44.0
        assert float(((result.lr - result.plain_lr) / LEVEL).round().abs().max()) <= 2
        assert ball_norm(result.collaborative_lr - result.lr_start, "l2") <= 0.3 * (1 + 1e-5)
        assert not torch.equal(result.lr, result.plain_lr)

    @pytest.mark.parametrize("no_bound", [0.0, -5.0, -1e5])
    def test_below_zero_decibels_nothing_is_asked(self, photo, no_bound):
        free, asked = (
            hcd.collaborate(photo, make_tiny_irn(4), "fast", min_lr_psnr=psnr, rule=LONG)
            for psnr in (-math.inf, no_bound)
        )
        assert torch.equal(free.lr, asked.lr)

    def test_each_picture_of_a_batch_by_itself(self, photo):
        batch = torch.cat([photo, photo.flip(-2) ** 2])
        result = hcd.collaborate(batch, make_tiny_irn(4), "fast", rule=LONG, min_lr_psnr=42.0)
        for lr, plain in zip(result.lr, result.plain_lr, strict=True):
            assert hcd.psnr(lr[None], plain[None], channel="rgb") >= 42.0
