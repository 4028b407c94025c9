"""Curvature products: who counts them, who refuses them, and what Gauss–Newton makes of them."""

from __future__ import annotations

import math

import pytest
import torch

from hcd.solver import BudgetSpent, GaussNewton, Point, Stopped, descend
from tests.solver.test_contract import bowl, quadratic, valley


def at(matrix, center, x, *, products=1000):
    """An evaluated point of ``½ (x − c)ᵀ A (x − c)`` that refuses products beyond their number."""
    made = []

    def product(v):
        if len(made) >= products:
            raise BudgetSpent
        made.append(v)
        return matrix @ v

    gradient = matrix @ (x - center)
    return Point(x=x, value=float((x - center) @ gradient / 2), gradient=gradient, product=product), made


def test_enough_products_solve_a_quadratic_in_one_step():
    matrix, center, start = quadratic(0, size=8, condition=20.0)
    rule = GaussNewton(inner=8, tolerance=0.0, damping=0.0, max_step=math.inf)
    point, made = at(matrix, center, start)
    candidate, _ = rule.step(point, rule.init())
    torch.testing.assert_close(candidate, center, rtol=1e-8, atol=1e-8)
    assert len(made) == 8


def test_damping_is_added_to_the_curvature():
    matrix, center, start = quadratic(0, size=5, condition=4.0)
    rule = GaussNewton(inner=5, tolerance=0.0, damping=0.5, max_step=math.inf)
    point, _ = at(matrix, center, start)
    candidate, _ = rule.step(point, rule.init())
    shift = 0.5 * (point.gradient @ matrix @ point.gradient) / (point.gradient @ point.gradient)
    expected = -torch.linalg.solve(matrix + shift * torch.eye(5, dtype=torch.float64), point.gradient)
    torch.testing.assert_close(candidate - start, expected, rtol=1e-8, atol=1e-10)


def test_the_tolerance_ends_the_inner_iterations():
    matrix, center, start = quadratic(0, condition=10.0)
    counts = []
    for tolerance in (0.9, 0.2, 0.1, 0.01):
        point, made = at(matrix, center, start)
        rule = GaussNewton(inner=100, tolerance=tolerance, damping=0.0, max_step=math.inf)
        step = rule.step(point, rule.init())[0] - start
        counts.append(len(made))
        assert (matrix @ step + point.gradient).norm() <= tolerance * point.gradient.norm()
    assert counts == sorted(set(counts))


def test_negative_curvature_leads_to_the_bound():
    start = torch.zeros(2, dtype=torch.float64)
    point, made = at(-torch.eye(2, dtype=torch.float64), torch.tensor([1.0, -0.5], dtype=torch.float64), start)
    rule = GaussNewton(inner=9, max_step=0.25)
    candidate, _ = rule.step(point, rule.init())
    assert candidate.tolist() == pytest.approx([-0.25, 0.125])
    assert len(made) == 1


def test_without_a_product_left_a_gradient_step_follows():
    matrix, center, start = quadratic(0)
    point, _ = at(matrix, center, start, products=0)
    rule = GaussNewton(first_step=0.01)
    candidate, _ = rule.step(point, rule.init())
    torch.testing.assert_close(candidate - start, -0.01 * point.gradient / point.gradient.abs().max())


def test_an_interrupted_solve_uses_what_it_has():
    matrix, center, start = quadratic(0)
    candidates = []
    for inner, products in ((2, 1000), (10, 2)):
        rule = GaussNewton(inner=inner, tolerance=0.0, max_step=math.inf)
        point, made = at(matrix, center, start, products=products)
        candidates.append(rule.step(point, rule.init())[0])
        assert len(made) == 2
    assert torch.equal(*candidates)


def test_damping_follows_the_decrease():
    rule = GaussNewton(inner=1, damping=0.3)
    start = torch.tensor([0.5], dtype=torch.float64)
    eye = torch.eye(1, dtype=torch.float64)
    for share, factor in ((1.0, 1 / 3), (0.5, 1.0), (0.1, 2.0)):
        first, _ = at(eye, torch.zeros(1, dtype=torch.float64), start)
        candidate, state = rule.step(first, rule.init())
        move = float(candidate - start)
        predicted = -float(first.gradient) * move - move**2 / 2
        second = Point(x=candidate, value=first.value - share * predicted, gradient=candidate, product=lambda v: v)
        assert rule.step(second, state)[1].damping == pytest.approx(0.3 * factor)


def test_more_products_pay_in_a_curved_valley():
    problem, start = valley()
    options = {"project": lambda x: x, "evaluations": 250, "curvature": problem.curvature}
    solution = descend(problem.objective, start, rule=GaussNewton(inner=6), **options)
    assert solution.value < 1e-12
    assert problem.calls == solution.evaluations <= 250


def test_products_are_counted_for_the_callback():
    problem, start = bowl(0)
    counts = []
    descend(
        problem.objective,
        start,
        rule=GaussNewton(inner=3, tolerance=0.0, max_step=math.inf),
        project=lambda x: x,
        evaluations=12,
        curvature=problem.curvature,
        on_evaluation=lambda count, value: counts.append(count),
    )
    # Three products after a gradient each, at last as many as leave a gradient.
    assert counts == [1, 5, 9, 12]
    assert problem.calls == 12


def test_stopped_in_a_product_keeps_what_there_is():
    problem, start = bowl(0)

    def curvature(x, v):
        raise Stopped

    problem.product = curvature
    solution = problem.solve(start, "gauss-newton", 12)
    assert torch.equal(solution.x, start)
    assert torch.equal(solution.candidate, start)
    assert solution.evaluations == 1
