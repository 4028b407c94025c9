"""The driver: feasibility, what is kept, counting, stopping."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hcd.errors import UsageError
from hcd.ops import ball_norm, project_ball
from hcd.solver import LBFGS, NormalizedGradient, Stopped, descend

RULES = {
    "lbfgs": LBFGS(first_step=0.3, max_step=1.0),
    "normalized": NormalizedGradient(step_size=0.4),
}
both_rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
both_keeps = pytest.mark.parametrize("keep", ["best", "last"])


def bowl(x):
    """Lowest at (2, −1), outside the sets of these tests."""
    return (x - torch.tensor([2.0, -1.0], dtype=x.dtype)).square().sum()


@both_rules
@both_keeps
def test_every_evaluated_and_returned_point_was_projected(rule, keep):
    handed_out, evaluated = [], []

    def project(x):
        inside = project_ball(x, "l2", 0.7)
        handed_out.append(inside.clone())
        return inside

    def objective(x):
        evaluated.append(x.detach().clone())
        return bowl(x)

    solution = descend(objective, torch.tensor([5.0, 5.0]), rule=rule, project=project, evaluations=9, keep=keep)
    assert len(evaluated) == solution.evaluations == 9
    for x in [*evaluated, solution.x]:
        assert any(torch.equal(x, known) for known in handed_out)
        assert ball_norm(x, "l2") <= 0.7 * (1 + 1e-6)


@given(seed=st.integers(0, 1000), evaluations=st.integers(0, 15), name=st.sampled_from(sorted(RULES)))
def test_best_is_the_best_evaluated_point(seed, evaluations, name):
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(4, generator=generator, dtype=torch.float64)
    weights = torch.rand(4, generator=generator, dtype=torch.float64) * 20
    values = []

    def objective(x):
        value = (weights * x.cos()).sum() + x.square().sum()
        values.append(float(value.detach()))
        return value

    solution = descend(
        objective, start, rule=RULES[name], project=lambda x: x.clamp(-1, 1), evaluations=evaluations, keep="best"
    )
    if not evaluations:
        assert math.isnan(solution.value)
        return
    assert solution.value == min(values)
    assert float(objective(solution.x)) == solution.value


def test_last_is_the_candidate_after_the_last_evaluation():
    # Steps of 0.4 along a line, from 0 towards 2.
    def objective(x):
        return (x - 2).square().sum()

    start = torch.zeros(1, dtype=torch.float64)
    options = {"rule": RULES["normalized"], "project": lambda x: x, "evaluations": 3}
    last = descend(objective, start, keep="last", **options)
    best = descend(objective, start, keep="best", **options)
    assert last.x.item() == pytest.approx(1.2)
    assert math.isnan(last.value)
    assert best.x.item() == pytest.approx(0.8)
    assert best.value == pytest.approx(1.44)


@both_rules
@both_keeps
def test_no_evaluations_return_the_projected_start(rule, keep):
    solution = descend(
        lambda x: pytest.fail("must not be evaluated"),
        torch.tensor([3.0, -0.2]),
        rule=rule,
        project=lambda x: x.clamp(-1, 1),
        evaluations=0,
        keep=keep,
    )
    assert solution.x.tolist() == pytest.approx([1.0, -0.2])
    assert solution.evaluations == 0


@both_rules
@both_keeps
def test_the_callback_sees_every_evaluation_and_can_stop(rule, keep):
    seen = []

    def watch(count, value, beside):
        assert beside is None
        seen.append((count, value))
        return "enough" if count == 3 else None

    start = torch.zeros(2)
    solution = descend(bowl, start, rule=rule, project=lambda x: x, evaluations=10, keep=keep, on_evaluation=watch)
    assert [count for count, _ in seen] == [1, 2, 3]
    assert seen[0][1] == float(bowl(start))
    assert solution.evaluations == 3
    assert solution.stopped == "enough"
    if keep == "best":
        assert solution.value == min(value for _, value in seen)
    else:
        # Stopped before another step was taken: the last point is the one that was just evaluated.
        assert float(bowl(solution.x)) == seen[-1][1]


@both_rules
def test_neither_start_nor_gradients_of_others_are_touched(rule):
    weight = torch.tensor([1.5, 0.5], requires_grad=True)
    start = torch.tensor([0.1, 0.2], requires_grad=True)
    solution = descend(lambda x: (weight * bowl(x)).sum(), start, rule=rule, project=lambda x: x, evaluations=5)
    assert start.tolist() == pytest.approx([0.1, 0.2])
    assert start.grad is None
    assert weight.grad is None
    assert not solution.x.requires_grad


@both_rules
def test_works_where_gradients_are_switched_off(rule):
    with torch.no_grad():
        solution = descend(bowl, torch.zeros(2), rule=rule, project=lambda x: x, evaluations=5)
    assert solution.value < float(bowl(torch.zeros(2)))


@both_rules
def test_deterministic(rule):
    options = {"rule": rule, "project": lambda x: x.clamp(-1, 1), "evaluations": 12, "keep": "last"}
    first = descend(bowl, torch.zeros(2), **options)
    assert torch.equal(descend(bowl, torch.zeros(2), **options).x, first.x)


def test_a_point_without_a_value_is_never_the_best():
    def objective(x):
        value = bowl(x)
        return value if float(x[0].detach()) < 0.5 else value * math.nan

    solution = descend(objective, torch.zeros(2), rule=RULES["normalized"], project=lambda x: x, evaluations=4)
    assert math.isfinite(solution.value)
    assert torch.isfinite(solution.x).all()


def test_a_negative_number_of_evaluations_is_wrong():
    with pytest.raises(UsageError, match="evaluations -1: must be 0 or more"):
        descend(bowl, torch.zeros(2), rule=LBFGS(), project=lambda x: x, evaluations=-1)


def test_an_unknown_keep_is_wrong():
    with pytest.raises(UsageError, match="keep 'first': use best or last"):
        descend(bowl, torch.zeros(2), rule=LBFGS(), project=lambda x: x, evaluations=1, keep="first")


class TestCandidate:
    options = {"rule": NormalizedGradient(step_size=0.4), "project": lambda x: x.clamp(-1, 1)}  # noqa: RUF012

    def test_is_the_projected_start_without_evaluations(self):
        solution = descend(bowl, torch.tensor([3.0, -0.2]), evaluations=0, **self.options)
        assert torch.equal(solution.candidate, solution.x)

    @both_keeps
    def test_is_the_last_proposed_and_not_yet_evaluated_point(self, keep):
        evaluated = []

        def objective(x):
            evaluated.append(x.detach().clone())
            return bowl(x)

        start = torch.zeros(2)
        three = descend(objective, start, evaluations=3, keep=keep, **self.options)
        descend(objective, start, evaluations=4, keep=keep, **self.options)
        assert torch.equal(three.candidate, evaluated[-1])
        assert all(not torch.equal(three.candidate, x) for x in evaluated[:3])

    @both_keeps
    def test_is_the_point_whose_evaluation_was_stopped(self, keep):
        seen = []

        def objective(x):
            seen.append(x.detach().clone())
            if len(seen) == 3:
                raise Stopped("interrupted")
            return bowl(x)

        solution = descend(objective, torch.zeros(2), evaluations=9, keep=keep, **self.options)
        assert solution.evaluations == 2
        assert solution.stopped == "interrupted"
        assert torch.equal(solution.candidate, seen[2])


class TestTolerance:
    @staticmethod
    def values_until_the_end(values, **options):
        """How many of these values a descent with step 0.1 on a line of such values takes."""

        def objective(x):
            index = round(float(x.detach()) / 0.1)
            return values[index] - (x - x.detach()).sum()

        return descend(
            objective,
            torch.zeros(1, dtype=torch.float64),
            rule=NormalizedGradient(step_size=0.1),
            project=lambda x: x,
            evaluations=len(values),
            **options,
        ).evaluations

    def test_ends_once_the_best_value_hardly_falls(self):
        values = [8.0, 4.0, 2.0, 1.999, 1.998, 1.997, 1.996, 1.0]
        # Over three evaluations: from 2.0 to 1.997.
        assert self.values_until_the_end(values, tolerance=0.01) == 6
        assert self.values_until_the_end(values, tolerance=0.01, patience=1) == 4
        assert self.values_until_the_end(values, tolerance=1e-4) == 8
        assert self.values_until_the_end(values) == 8

    def test_compares_best_values(self):
        # The rise between does not count as a fall afterwards.
        assert self.values_until_the_end([5.0, 9.0, 8.0, 7.0, 1.0], tolerance=0.01) == 4

    def test_negative_values_and_none_at_all(self):
        assert self.values_until_the_end([-1.0, -2.0, -3.0, -4.0, -5.0], tolerance=0.01) == 5
        assert self.values_until_the_end([math.nan] * 6, tolerance=0.01) == 6

    @pytest.mark.parametrize("wrong", [{"tolerance": -0.1}, {"tolerance": math.nan}, {"patience": 0}])
    def test_settings_are_checked(self, wrong):
        with pytest.raises(UsageError, match="patience"):
            descend(bowl, torch.zeros(2), rule=LBFGS(), project=lambda x: x, evaluations=1, **wrong)
