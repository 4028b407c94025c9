"""The contract that every rule of the registry keeps."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest
import torch

from hcd.errors import UsageError
from hcd.solver import RULES, Point, StepRule, descend, get_rule

every_rule = pytest.mark.parametrize("name", RULES)

# Share of the possible gain that a rule may leave after 200 evaluations of a quadratic of condition 100 in a box.
LEFT = {
    "gradient": 0.01,
    "adam": 0.2,
    "conjugate-gradient": 1e-9,
    "lbfgs": 1e-9,
}


class Problem:
    """An objective that counts its calls and records where it was called."""

    def __init__(self, value):
        self.value = value
        self.calls, self.at = 0, []

    def objective(self, x):
        self.calls += 1
        self.at.append(x.detach().clone())
        return self.value(x)

    def solve(self, start, name, evaluations, *, low=0.0, high=1.0, **options):
        return descend(
            self.objective,
            start,
            rule=RULES[name],
            project=lambda x: x.clamp(low, high),
            evaluations=evaluations,
            box=(low, high),
            **options,
        )


def quadratic(seed, *, size=30, condition=100.0):
    """Matrix, center and start: the minimum over the box [0, 1] lies on several of its bounds."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    spectrum = torch.logspace(0, math.log10(condition), size, dtype=torch.float64)
    matrix = basis @ torch.diag(spectrum) @ basis.T
    center = 0.5 + 0.4 * torch.randn(size, generator=generator, dtype=torch.float64)
    return matrix, center, torch.full((size,), 0.5, dtype=torch.float64)


def bowl(seed):
    matrix, center, start = quadratic(seed)
    problem = Problem(lambda x: (x - center) @ matrix @ (x - center) / 2)
    return problem, start


def residuals(x):
    """A chain of Rosenbrock's functions: a curved valley, minimum 0 at ones."""
    return torch.cat([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def valley():
    return Problem(lambda x: residuals(x).square().sum()), torch.full((6,), 0.2, dtype=torch.float64)


@every_rule
@pytest.mark.parametrize("seed", [1, 2])
def test_a_convex_quadratic_in_a_box(name, seed):
    matrix, center, start = quadratic(seed)
    x = start
    for _ in range(3000):
        x = (x - matrix @ (x - center) / 100).clamp(0, 1)
    assert ((x == 0) | (x == 1)).sum() >= 5, "the problem is chosen to end on bounds"
    problem, _ = bowl(seed)
    lowest, first = float(problem.value(x)), float(problem.value(start))
    solution = problem.solve(start, name, 200)
    assert -1e-9 * first <= solution.value - lowest <= LEFT[name] * (first - lowest)


@every_rule
def test_a_curved_valley(name):
    problem, start = valley()
    first = float(problem.value(start))
    solution = problem.solve(start, name, 250, low=-2.0, high=2.0)
    share = {"lbfgs": 1e-9, "conjugate-gradient": 1e-2}.get(name, 0.5)
    assert solution.value <= share * first
    assert solution.value == float(problem.value(solution.x))


@every_rule
@pytest.mark.parametrize(("evaluations", "keep"), [(0, "best"), (1, "last"), (3, "best"), (20, "last")])
def test_never_beyond_the_budget_nor_outside_the_set(name, evaluations, keep):
    problem, start = bowl(3)
    solution = problem.solve(start, name, evaluations, low=0.45, high=0.52, keep=keep)
    assert problem.calls == solution.evaluations <= evaluations
    assert solution.evaluations == evaluations
    for x in [*problem.at, solution.x, solution.candidate]:
        assert (x >= 0.45).all()
        assert (x <= 0.52).all()


@every_rule
def test_a_zero_gradient_stays_in_place(name):
    start = torch.tensor([0.25, 0.5])
    problem = Problem(lambda x: (x * 0).sum() + 3)
    solution = problem.solve(start, name, 6)
    assert all(torch.equal(x, start) for x in [*problem.at, solution.x, solution.candidate])
    assert solution.value == 3.0


@every_rule
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_undefined_beyond_a_wall_is_taken_back(name, bad):
    # The first step leads behind the wall, whatever its size.
    start = torch.full((3,), 0.5, dtype=torch.float64)

    def value(x):
        inside = (x - torch.tensor([0.2, 0.9, 0.5002], dtype=x.dtype)).square().sum()
        return inside if problem.calls != 2 else inside * bad

    problem = Problem(value)
    first = float((start - torch.tensor([0.2, 0.9, 0.5002], dtype=start.dtype)).square().sum())
    solution = problem.solve(start, name, 60)
    assert math.isfinite(solution.value)
    assert solution.value < 0.9 * first
    assert all(torch.isfinite(x).all() for x in [*problem.at, solution.candidate])
    if name in ("gradient", "adam"):
        assert (problem.at[2] - start).abs().max() < (problem.at[1] - start).abs().max()


@every_rule
def test_undefined_from_the_second_point_on_keeps_the_start(name):
    problem, start = bowl(0)
    first = problem.value
    problem.value = lambda x: first(x) if torch.equal(x.detach(), start) else first(x) * math.nan
    solution = problem.solve(start, name, 30)
    assert torch.equal(solution.x, start)
    assert solution.value == float(first(start))
    # Ever closer to the only place with a value.
    assert (problem.at[-1] - start).abs().max() < (problem.at[1] - start).abs().max()


@every_rule
def test_undefined_everywhere_ends(name):
    problem = Problem(lambda x: x.sum() * math.nan)
    solution = problem.solve(torch.full((2,), 0.5), name, 8)
    assert math.isnan(solution.value)
    assert solution.evaluations == 8
    assert all(torch.isfinite(x).all() for x in problem.at)


@every_rule
def test_deterministic(name):
    runs = []
    for _ in range(2):
        problem, start = bowl(1)
        solution = problem.solve(start, name, 25)
        runs.append([*problem.at, solution.x, solution.candidate])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@every_rule
def test_inputs_are_not_changed(name):
    rule = RULES[name]
    problem, x = bowl(2)
    matrix, center, _ = quadratic(2)
    state = rule.init()
    for _ in range(12):
        gradient = matrix @ (x - center)
        free = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.8
        given = [x, gradient, free]
        before = [part.clone() for part in given]
        tensors = _tensors(state)
        kept = [part.clone() for part in tensors]
        point = Point(
            x=x,
            value=float(problem.value(x)),
            gradient=gradient,
            free=free,
            project=lambda x: x.clamp(0, 1),
        )
        candidate, new_state = rule.step(point, state)
        assert all(torch.equal(a, b) for a, b in zip([*given, *tensors], [*before, *kept], strict=True))
        # The state given before leads to the same step again.
        assert torch.equal(rule.step(point, state)[0], candidate)
        x, state = candidate.clamp(0, 1), new_state


def _tensors(state):
    """Every tensor in a rule's state."""
    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, tuple | list):
        return [tensor for part in state for tensor in _tensors(part)]
    if is_dataclass(state):
        return [tensor for entry in fields(state) for tensor in _tensors(getattr(state, entry.name))]
    return []


@every_rule
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)])
def test_one_variable(name, shape):
    start = torch.full(shape, 0.5, dtype=torch.float64)
    problem = Problem(lambda x: (x - 0.6).square().sum() + (x - 0.6).pow(4).sum())
    solution = problem.solve(start, name, 60)
    # The gradient rule's fixed step of 20/255 passes the minimum by up to half its length.
    assert float((solution.x - 0.6).abs().max()) < 0.03
    assert solution.x.shape == shape
    on_bound = Problem(lambda x: (x - 1.6).square().sum())
    assert float(on_bound.solve(start, name, 40, high=0.55).x.min()) == 0.55


@every_rule
def test_no_element_changes_by_more_than_the_cap(name):
    rule = RULES[name]
    if not hasattr(rule, "max_step"):
        assert name == "gradient"
        return
    cap = max(rule.max_step, getattr(rule, "first_step", 0.0))
    problem, start = bowl(4)
    solution = problem.solve(start, name, 80)
    seen = torch.stack(problem.at)
    # From some point evaluated before: a correction starts from the base, not from the bad step.
    for index in range(1, len(seen)):
        nearest = (seen[:index] - seen[index]).abs().amax(dim=1).min()
        assert float(nearest) <= cap * (1 + 1e-9)
    assert solution.value < float(problem.value(start))


@every_rule
def test_single_precision_pictures(name):
    target = 0.4 + 0.2 * torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    start = torch.full_like(target, 0.5)
    # Gradients as small as those of a mean over millions of values.
    problem = Problem(lambda x: 1e-6 * (x - target).square().mean())
    solution = problem.solve(start, name, 80)
    assert solution.x.dtype == solution.candidate.dtype == torch.float32
    assert solution.value < 0.05 * float(problem.value(start))


@every_rule
def test_rules_are_final_frozen_and_keyword_only(name):
    rule = RULES[name]
    assert get_rule(name) is rule
    assert isinstance(rule, StepRule)
    assert rule == type(rule)()
    assert type(rule).__final__
    assert hash(rule) == hash(type(rule)())
    with pytest.raises(FrozenInstanceError):
        setattr(rule, fields(rule)[0].name, 1.0)
    with pytest.raises(TypeError):
        type(rule)(1.0)


@every_rule
def test_settings_are_checked(name):
    kind = type(RULES[name])
    for entry in fields(kind):
        for wrong in (-1.0, math.nan):
            with pytest.raises(UsageError):
                kind(**{entry.name: wrong})


def test_an_unknown_rule_names_the_known_ones():
    with pytest.raises(
        UsageError, match=r"unknown step rule 'lbgfs'. Did you mean 'lbfgs'.*gradient, adam, conjugate-gradient"
    ):
        get_rule("lbgfs")
