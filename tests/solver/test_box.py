"""Variables held by their bounds, and the gain from excluding them from a direction."""

from __future__ import annotations

import math

import pytest
import torch

from hcd.solver import LBFGS, Point, descend
from hcd.solver.box import Box
from tests.solver.test_contract import bowl


def test_held_are_those_on_a_bound_that_are_pushed_out():
    x = torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0, 0.0])
    gradient = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, 0.0])
    free = Box.of(0.0, 1.0, x).free(x, gradient)
    assert free.tolist() == [False, True, True, False, True, True]


def test_nothing_held_is_no_mask():
    x = torch.tensor([0.0, 1.0])
    assert Box.of(0.0, 1.0, x).free(x, torch.tensor([-1.0, 1.0])) is None
    assert Box.of(-math.inf, math.inf, x).free(x, torch.tensor([1.0, -1.0])) is None
    assert Box.of(0.0, 1.0, x).free(x, torch.tensor([math.nan, math.nan])) is None


def test_one_bound_may_be_missing():
    x = torch.tensor([-1e30, 1.0])
    assert Box.of(-math.inf, 1.0, x).free(x, torch.tensor([1.0, -1.0])).tolist() == [True, False]


def test_bounds_of_every_variable_with_the_rounding_of_a_projection():
    generator = torch.Generator().manual_seed(0)
    center, radius = torch.rand(1000, generator=generator), 8 / 255
    low, high = (center - radius).clamp(min=0), (center + radius).clamp(max=1)
    x = (center + (torch.full_like(center, -1.0) - center).clamp(-radius, radius)).clamp(0, 1)
    free = Box.of(low, high, x).free(x, torch.ones_like(x))
    assert not free.any()


def test_held_variables_stay_out_of_the_lbfgs_direction():
    # As the rule takes the problem without these variables.
    generator = torch.Generator().manual_seed(0)
    matrix = torch.diag(torch.rand(6, generator=generator, dtype=torch.float64) + 0.5)
    free = torch.tensor([True, False, True, True, False, True])
    rule, candidates = LBFGS(), []
    for kept in (torch.ones(6, dtype=torch.bool), free):
        x, state = torch.full((int(kept.sum()),), 0.5, dtype=torch.float64), rule.init()
        within = matrix[kept][:, kept]
        mask = free if len(x) == 6 else None
        for _ in range(5):
            point = Point(x=x, value=float(x @ within @ x), gradient=2 * within @ x, free=mask)
            x, state = rule.step(point, state)
        candidates.append(x)
    assert (candidates[0][~free] == 0.5).all()
    torch.testing.assert_close(candidates[0][free], candidates[1], rtol=1e-12, atol=1e-12)


def test_knowing_the_box_pays():
    problem, start = bowl(0)
    clamp = {"rule": LBFGS(), "project": lambda x: x.clamp(0, 1), "evaluations": 60}
    blind = descend(problem.objective, start, **clamp).value
    seeing = descend(problem.objective, start, box=(0.0, 1.0), **clamp).value
    lowest = descend(problem.objective, start, box=(0.0, 1.0), **{**clamp, "evaluations": 400}).value
    assert seeing - lowest < 0.1 * (blind - lowest)


@pytest.mark.parametrize("box", [(0.0, 1.0), (torch.zeros(30), torch.ones(30))])
def test_numbers_and_tensors_bound_alike(box):
    problem, start = bowl(0)
    solution = problem.solve(start, "lbfgs", 30)
    again = descend(problem.objective, start, rule=LBFGS(), project=lambda x: x.clamp(0, 1), evaluations=30, box=box)
    assert torch.equal(solution.x, again.x)
