"""L-BFGS with local inner products: every part of an image has a recursion of its own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hcd.errors import UsageError
from hcd.solver import LBFGS, Point, descend
from hcd.solver.rules.moves import inner
from tests.solver.test_contract import bowl

SIDE, GAP = 16, 30


def part(steepness, seed):
    """A quadratic of a square picture, whose pixels depend on their neighbors; 1 at zero for a steepness of 1."""
    target = torch.randn(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    target = target / target.norm()
    weights = torch.tensor([0.3, 0.4, 0.3], dtype=torch.float64)
    kernel = (weights[:, None] * weights)[None, None]

    def value(x):
        error = x - target
        return steepness * (0.95 * F.conv2d(error, kernel, padding=1).square().sum() + 0.05 * error.square().sum())

    return value


FLAT, STEEP = part(1.0, 1), part(1000.0, 2)


def left(x):
    return x[..., :SIDE]


def right(x):
    return x[..., -SIDE:]


def solve(objective, rule, width, evaluations):
    start = torch.zeros(1, 1, SIDE, width, dtype=torch.float64)
    return descend(objective, start, rule=rule, project=lambda x: x, evaluations=evaluations)


def shares_left(rule, evaluations):
    """Of two problems side by side, the share of its value that is left of each."""
    x = solve(lambda x: FLAT(left(x)) + STEEP(right(x)), rule, 2 * SIDE + GAP, evaluations).x
    zero = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    return float(FLAT(left(x)) / FLAT(zero)), float(STEEP(right(x)) / STEEP(zero))


def rule(window):
    return LBFGS(first_step=0.02, max_step=1.0, window=window)


class TestTwoProblemsSideBySide:
    def test_each_is_solved_about_as_fast_as_alone(self):
        zero = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
        flat, steep = shares_left(rule(5), 30)
        # The steep one speaks in the flat one's inner products until it is solved.
        assert flat < 1e-3
        assert steep < 1e-6
        for problem in (FLAT, STEEP):
            alone = solve(problem, rule(5), SIDE, 15).value / float(problem(zero))
            assert alone < 1e-3

    def test_without_windows_the_flat_one_waits_for_the_steep_one(self):
        flat, steep = shares_left(rule(None), 30)
        assert flat > 0.1
        assert steep < 1e-2

    def test_a_picture_of_copies_takes_no_more_evaluations_than_one(self):
        one = solve(FLAT, rule(5), SIDE, 20).value
        four = solve(lambda x: sum(FLAT(piece) for piece in x.split(SIDE, dim=3)), rule(5), 4 * SIDE, 20).value
        assert four / 4 < 20 * one


class TestSteps:
    def test_every_direction_descends(self):
        """Also within a face, and whatever the curvature."""
        generator = torch.Generator().manual_seed(0)
        target = torch.rand(1, 3, 9, 12, generator=generator)
        bend = torch.rand(1, 3, 9, 12, generator=generator) * 10

        def objective(x):
            error = x - target
            return (bend * error.square()).sum() + (20 * error).cos().sum() / 10 + error.diff(dim=3).square().sum()

        step_rule = LBFGS(first_step=0.01, max_step=0.05, window=3)
        x, state = torch.full_like(target, 0.5), step_rule.init()
        descents = []
        for _ in range(40):
            variable = x.clone().requires_grad_()
            value = objective(variable)
            (gradient,) = torch.autograd.grad(value, variable)
            free = ~((x <= 0.3) & (gradient > 0)) & ~((x >= 0.7) & (gradient < 0))
            point = Point(x=x, value=float(value.detach()), gradient=gradient, free=free)
            candidate, state = step_rule.step(point, state)
            if state.base is point:
                move = candidate - x
                descents.append(float((move * gradient).sum()))
                assert not move[~free].any()
                assert float(move.abs().max()) <= 0.05 * (1 + 1e-6)
            x = candidate.clamp(0.3, 0.7)
        assert len(descents) > 20
        assert all(descent < 0 for descent in descents[:20])
        assert all(descent <= 0 for descent in descents)

    def test_a_steep_place_does_not_shorten_the_steps_of_others(self):
        """The direction is clamped pixel by pixel: shortened as a whole, it would leave next to nothing of the left."""
        x0, x1 = torch.zeros(1, 1, 1, 41), torch.zeros(1, 1, 1, 41)
        gradient0, gradient1 = (torch.zeros(1, 1, 1, 41) for _ in range(2))
        # On the left a curvature of 1, on the right one of 0.001: its minimum is a thousand away.
        x1[..., 0], gradient0[..., 0], gradient1[..., 0] = 0.1, -1.0, -0.9
        x1[..., 40], gradient0[..., 40], gradient1[..., 40] = 0.1, -1.0, -0.9999
        step_rule = LBFGS(first_step=0.1, max_step=0.2, window=5)
        _, state = step_rule.step(Point(x=x0, value=1.0, gradient=gradient0), step_rule.init())
        candidate, _ = step_rule.step(Point(x=x1, value=0.9, gradient=gradient1), state)
        move = candidate - x1
        assert float(move[..., 40]) == pytest.approx(0.2)
        assert float(move[..., 0]) == pytest.approx(0.2)

    @pytest.mark.parametrize("shape", [(30,), (5, 6), (2, 3, 5)])
    def test_other_shapes_than_pictures_have_no_windows(self, shape):
        problem, start = bowl(0)
        solutions = []
        for window in (None, 3, 17):
            solution = descend(
                lambda x: problem.value(x.flatten()),
                start.reshape(shape),
                rule=LBFGS(window=window),
                project=lambda x: x.clamp(0, 1),
                evaluations=25,
            )
            solutions.append(solution.x)
        assert torch.equal(solutions[0], solutions[1])
        assert torch.equal(solutions[0], solutions[2])

    def test_a_window_over_one_pixel_is_none(self):
        """A picture of one pixel is its own neighborhood."""
        weights = torch.tensor([1.0, 7.0, 3.0], dtype=torch.float64).reshape(1, 3, 1, 1)
        values = [
            descend(
                lambda x: (weights * (x - 0.6).square()).sum(),
                torch.full((1, 3, 1, 1), 0.5, dtype=torch.float64),
                rule=LBFGS(window=window, first_step=0.01, max_step=1.0),
                project=lambda x: x,
                evaluations=5,
            ).value
            for window in (None, 17)
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-15)

    @pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e6])
    def test_units_of_the_objective_do_not_matter(self, scale):
        target = 0.5 + 0.01 * torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
        start = torch.full_like(target, 0.5)
        options = {"rule": LBFGS(window=3), "project": lambda x: x.clamp(0, 1), "evaluations": 12}
        solution = descend(lambda x: scale * (x - target).square().sum(), start, **options)
        assert solution.value < 1e-4 * scale * float((start - target).square().sum())

    def test_a_bad_step_is_shortened_from_its_base(self):
        step_rule = LBFGS(first_step=0.1, window=3)
        base = Point(x=torch.zeros(1, 1, 4, 4), value=1.0, gradient=torch.ones(1, 1, 4, 4))
        candidate, state = step_rule.step(base, step_rule.init())
        worse = Point(x=candidate, value=2.0, gradient=-torch.ones(1, 1, 4, 4))
        again, state = step_rule.step(worse, state)
        assert state.base is base
        assert 0.01 <= float(again.abs().max() / candidate.abs().max()) <= 0.5

    @pytest.mark.parametrize("window", [0, -3, 0.5, math.nan])
    def test_settings_are_checked(self, window):
        with pytest.raises(UsageError, match="window"):
            LBFGS(window=window)


class TestInner:
    @staticmethod
    def pictures(seed=0, shape=(1, 3, 7, 9)):
        generator = torch.Generator().manual_seed(seed)
        return (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))

    def test_without_a_window_it_is_the_inner_product(self):
        a, b = self.pictures()
        assert float(inner(a, b, None)) == pytest.approx(float(a.flatten() @ b.flatten()))

    def test_a_window_far_wider_than_the_picture_is_the_same_everywhere(self):
        a, b = self.pictures()
        around = inner(a, b, 101)
        assert around.shape == (1, 1, 7, 9)
        torch.testing.assert_close(around, torch.full_like(around, float((a * b).sum() / 63)))

    def test_weights_fall_to_nothing_at_the_border_of_the_window(self):
        a = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
        a[..., 15, 15] = 1.0
        around = (inner(a, a, 6) - 0.1 / 31**2)[0, 0] / 0.9
        row = around[15] / around[15, 15]
        # Half of them on either side: linearly down over seven pixels.
        wanted = [max(0.0, 1 - abs(place - 15) / 7) for place in range(31)]
        assert row.tolist() == pytest.approx(wanted, abs=1e-9)
        assert float(around.sum()) == pytest.approx(1.0)
        torch.testing.assert_close(around, around.T)

    @given(seed=st.integers(0, 50), window=st.integers(1, 12), height=st.integers(1, 9), width=st.integers(1, 9))
    def test_of_a_picture_with_itself_is_positive(self, seed, window, height, width):
        a, b = self.pictures(seed, (1, 2, height, width))
        assert bool((inner(a, a, window) > 0).all())
        torch.testing.assert_close(inner(a, b, window), inner(b, a, window))
        squares = inner(a, a, window) * inner(b, b, window)
        assert bool((inner(a, b, window).square() <= squares * (1 + 1e-9)).all())
