"""Projections onto balls: feasible, idempotent, and nearest in Euclidean distance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hcd.errors import UsageError
from hcd.ops import NORMS, ball_norm, project_ball

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
