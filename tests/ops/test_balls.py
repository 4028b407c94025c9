"""Projection onto balls: inside, idempotent, and the nearest point there is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hcd.errors import ShapeError, UsageError
from hcd.ops import BALL_GROUPS, NORMS, ball_norm, mean_ball_norm, project_ball, project_mean_ball
from hcd.ops.balls import TILE

points = npst.arrays(np.float64, st.integers(1, 12), elements=st.floats(-4, 4, width=32)).map(torch.from_numpy)
radii = st.one_of(st.just(0.0), st.floats(0.01, 6))
norms = st.sampled_from(NORMS)


@given(x=points, norm=norms, epsilon=radii)
def test_result_is_inside(x, norm, epsilon):
    assert ball_norm(project_ball(x, norm, epsilon), norm) <= epsilon * (1 + 1e-12) + 1e-12


@given(x=points, norm=norms, epsilon=radii)
def test_idempotent(x, norm, epsilon):
    once = project_ball(x, norm, epsilon)
    torch.testing.assert_close(project_ball(once, norm, epsilon), once, rtol=1e-12, atol=1e-12)


@given(x=points, norm=norms, epsilon=radii)
def test_a_point_inside_stays_to_the_bit(x, norm, epsilon):
    if ball_norm(x, norm) <= epsilon:
        assert torch.equal(project_ball(x, norm, epsilon), x)


@given(x=points, norm=norms, epsilon=st.floats(0.01, 6), seed=st.integers(0, 10_000))
def test_no_point_of_the_ball_is_nearer(x, norm, epsilon, seed):
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.randn(200, len(x), generator=generator, dtype=torch.float64)
    order = {"l1": 1, "l2": 2, "linf": math.inf}[norm]
    lengths = torch.linalg.vector_norm(candidates, ord=order, dim=1, keepdim=True).clamp(min=1e-9)
    shares = torch.rand(200, 1, generator=generator, dtype=torch.float64)
    nearest = project_ball(x, norm, epsilon)
    # Points anywhere in the ball, and points of the ball close by, where a slightly wrong answer would show.
    anywhere = candidates / lengths * shares * epsilon
    nearby = nearest + 0.1 * shares * (anywhere - nearest)
    for feasible in (anywhere, nearby):
        distances = torch.linalg.vector_norm(feasible - x, dim=1)
        assert float(distances.min()) >= float(torch.linalg.vector_norm(nearest - x)) - 1e-9


def test_known_values():
    x = torch.tensor([3.0, -1.0, 0.5])
    assert project_ball(x, "l1", 2.0).tolist() == [2.0, 0.0, 0.0]
    assert project_ball(x, "l1", 3.0).tolist() == [2.5, -0.5, 0.0]
    assert project_ball(x, "linf", 0.75).tolist() == [0.75, -0.75, 0.5]
    torch.testing.assert_close(project_ball(x, "l2", 1.0), x / math.sqrt(10.25))


@pytest.mark.parametrize("norm", NORMS)
def test_the_norm_is_over_the_whole_tensor(norm):
    x = torch.ones(2, 3, 4, 5)
    assert ball_norm(x, norm) == pytest.approx({"l1": 120.0, "l2": math.sqrt(120), "linf": 1.0}[norm])
    projected = project_ball(x, norm, 0.5)
    assert projected.shape == x.shape
    assert ball_norm(projected, norm) == pytest.approx(0.5)


@pytest.mark.parametrize("norm", NORMS)
def test_radius_zero_leaves_the_center(norm):
    assert not project_ball(torch.tensor([0.3, -2.0, 0.0]), norm, 0.0).any()


@pytest.mark.parametrize("norm", NORMS)
def test_the_center_itself_stays(norm):
    assert torch.equal(project_ball(torch.zeros(4), norm, 0.0), torch.zeros(4))
    assert torch.equal(project_ball(torch.zeros(4), norm, 1.0), torch.zeros(4))


@pytest.mark.parametrize("norm", NORMS)
def test_an_infinite_radius_is_no_constraint(norm):
    x = torch.tensor([1e30, -5.0])
    assert torch.equal(project_ball(x, norm, math.inf), x)


@pytest.mark.parametrize("norm", NORMS)
def test_single_precision_pictures_keep_the_bound(norm):
    x = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    projected = project_ball(x, norm, 0.3)
    assert projected.dtype == torch.float32
    assert ball_norm(projected, norm) <= 0.3 * (1 + 1e-5)


@pytest.mark.parametrize("epsilon", [-0.1, math.nan])
def test_radius_must_not_be_negative(epsilon):
    with pytest.raises(UsageError, match="radius"):
        project_ball(torch.zeros(2), "l2", epsilon)


def test_unknown_norm_names_the_known_ones():
    with pytest.raises(UsageError, match=r"'l3'.*l1, l2, linf"):
        project_ball(torch.zeros(2), "l3", 1.0)
    with pytest.raises(UsageError, match=r"'l3'.*l1, l2, linf"):
        ball_norm(torch.zeros(2), "l3")


class TestMeanBall:
    """The ball whose radius means the same at any picture size."""

    groups = st.sampled_from(BALL_GROUPS)
    # Cut tiles on both sides, one channel and several, one picture and two.
    shapes = st.sampled_from([(1, 3, 5, 7), (2, 3, 66, 5), (1, 1, 3, 130), (1, 2, 65, 6), (1, 3, 1, 1)])
    radii = st.one_of(st.just(0.0), st.floats(0.01, 3))

    @staticmethod
    def random(shape, seed, *, dtype=torch.float32, spread=1.0):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(shape, generator=generator, dtype=dtype)
        # Sizes that differ between places: some groups are inside, some far outside.
        return spread * x * torch.rand(shape[-2:], generator=generator, dtype=dtype).square() * 3

    @staticmethod
    def each_group(x, over):
        """The groups of a tensor by plain indexing."""
        for picture in x:
            if over == "picture":
                yield picture
            elif over == "pixel":
                yield from picture.flatten(1).T
            else:
                for band in picture.split(TILE, dim=1):
                    yield from band.split(TILE, dim=2)

    @classmethod
    def means(cls, x, norm, over):
        power = {
            "l1": lambda g: g.abs().mean(),
            "l2": lambda g: g.square().mean().sqrt(),
            "linf": lambda g: g.abs().max(),
        }[norm]
        return torch.stack([power(group.double()) for group in cls.each_group(x, over)])

    @given(shape=shapes, norm=norms, over=groups, seed=st.integers(0, 1000))
    @settings(max_examples=30)
    def test_the_norm_is_the_largest_power_mean_of_a_group(self, shape, norm, over, seed):
        x = self.random(shape, seed)
        assert mean_ball_norm(x, norm, over) == pytest.approx(float(self.means(x, norm, over).max()), rel=1e-6)

    @given(shape=shapes, norm=norms, over=groups, radius=radii, seed=st.integers(0, 1000))
    @settings(max_examples=40)
    def test_inside_idempotent_and_untouched_where_inside(self, shape, norm, over, radius, seed):
        x = self.random(shape, seed)
        before = x.clone()
        once = project_mean_ball(x, norm, radius, over)
        assert torch.equal(x, before)
        assert once.shape == x.shape
        assert once.dtype == x.dtype
        assert mean_ball_norm(once, norm, over) <= radius * (1 + 1e-5)
        torch.testing.assert_close(project_mean_ball(once, norm, radius, over), once, rtol=1e-5, atol=1e-6)
        inside = self.means(x, norm, over) <= radius * (1 - 1e-6)
        pairs = zip(inside, self.each_group(x, over), self.each_group(once, over), strict=True)
        assert all(torch.equal(a, b) for kept, a, b in pairs if kept)

    @given(shape=shapes, norm=norms, over=groups, radius=st.floats(0.01, 3), seed=st.integers(0, 1000))
    @settings(max_examples=40)
    def test_nearest_point(self, shape, norm, over, radius, seed):
        # p is the nearest point of a convex set to x if and only if (x − p)·(q − p) ≤ 0 for all of its points q.
        x = self.random(shape, seed, dtype=torch.float64)
        nearest = project_mean_ball(x, norm, radius, over)
        for trial in range(2):
            other = self.random(shape, seed + 2000 + trial, dtype=torch.float64)
            shares = [
                (group * min(1.0, radius / float(mean)))
                for group, mean in zip(self.each_group(other, over), self.means(other, norm, over), strict=True)
            ]
            pairs = zip(shares, self.each_group(x, over), self.each_group(nearest, over), strict=True)
            # A group at a time: the sum over all could hide one that is wrong.
            assert max(float(((at - p) * (q - p)).sum()) for q, at, p in pairs) <= 1e-9

    @pytest.mark.parametrize("over", BALL_GROUPS)
    def test_groups_are_projected_one_by_one_as_the_plain_ball_does(self, over):
        x = self.random((2, 3, 70, 67), 3, dtype=torch.float64)
        for norm, factor in (("l1", lambda n: n), ("l2", math.sqrt), ("linf", lambda n: 1)):
            projected = project_mean_ball(x, norm, 0.2, over)
            for group, got in zip(self.each_group(x, over), self.each_group(projected, over), strict=True):
                if over == "pixel" and float(group[0]) < 1.0:
                    continue  # some of the many pixels are enough
                expected = project_ball(group, norm, 0.2 * factor(group.numel()))
                torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("over", BALL_GROUPS)
    @pytest.mark.parametrize("norm", NORMS)
    def test_a_constant_has_itself_as_mean_at_any_size(self, norm, over):
        for shape in ((1, 3, 4, 5), (2, 3, 100, 70)):
            x = torch.full(shape, -0.5, dtype=torch.float64)
            assert mean_ball_norm(x, norm, over) == pytest.approx(0.5)
            torch.testing.assert_close(project_mean_ball(x, norm, 0.125, over), x / 4)

    def test_ties_and_zeros_of_l1(self):
        x = torch.tensor([2.0, -2.0, 0.0, 0.0]).reshape(1, 4, 1, 1)
        assert project_mean_ball(x, "l1", 0.5, "pixel").flatten().tolist() == [1.0, -1.0, 0.0, 0.0]
        assert not project_mean_ball(x, "l1", 0.0, "picture").any()

    @pytest.mark.parametrize("over", BALL_GROUPS)
    @pytest.mark.parametrize("norm", NORMS)
    def test_an_infinite_radius_is_no_constraint(self, norm, over):
        x = torch.full((1, 3, 2, 2), 1e30)
        assert torch.equal(project_mean_ball(x, norm, math.inf, over), x)

    @pytest.mark.parametrize("over", BALL_GROUPS)
    @pytest.mark.parametrize("norm", NORMS)
    def test_zero_stays_zero(self, norm, over):
        x = torch.zeros(1, 3, 2, 2)
        assert torch.equal(project_mean_ball(x, norm, 0.0, over), x)

    def test_wrong_arguments(self):
        x = torch.zeros(1, 3, 2, 2)
        for radius in (-0.1, math.nan):
            with pytest.raises(UsageError, match="radius"):
                project_mean_ball(x, "l2", radius, "pixel")
        for call in (lambda *a: project_mean_ball(x, a[0], 1.0, a[1]), lambda *a: mean_ball_norm(x, *a)):
            with pytest.raises(UsageError, match=r"'l3'.*l1, l2, linf"):
                call("l3", "pixel")
            with pytest.raises(UsageError, match=r"'pixels'. Did you mean 'pixel'.*picture, tile, pixel"):
                call("l2", "pixels")
        with pytest.raises(ShapeError, match="mean ball"):
            project_mean_ball(x[0], "l2", 1.0, "pixel")
