"""Single step rules: their candidates, and convex problems with and without constraints."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hcd.errors import UsageError
from hcd.ops import project_ball
from hcd.solver import LBFGS, NormalizedGradient, Point, descend

RULES = {
    "lbfgs": LBFGS(first_step=0.05, max_step=0.2),
    "normalized": NormalizedGradient(step_size=0.005),
}
SETS = {
    "box": lambda x: x.clamp(-0.5, 0.5),
    "ball": lambda x: project_ball(x, "l2", 0.5),
    "everywhere": lambda x: x,
}


class Quadratic:
    """``½ (x − c)ᵀ A (x − c)`` with dense A of the given condition; its constrained minimum by slow, sure steps."""

    def __init__(self, seed, *, size=8, condition=10.0):
        generator = torch.Generator().manual_seed(seed)
        basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
        eigenvalues = torch.logspace(0, math.log10(condition), size, dtype=torch.float64)
        self.matrix = basis @ torch.diag(eigenvalues) @ basis.T
        self.center = torch.randn(size, generator=generator, dtype=torch.float64)
        self.step = 1 / condition
        self.start = torch.zeros(size, dtype=torch.float64)

    def __call__(self, x):
        return (x - self.center) @ self.matrix @ (x - self.center) / 2

    def minimum(self, project):
        x = self.start
        for _ in range(1000):
            x = project(x - self.step * self.matrix @ (x - self.center))
        return float(self(x))


def at(objective, x):
    x = x.detach().requires_grad_()
    value = objective(x)
    (gradient,) = torch.autograd.grad(value, x)
    return Point(x=x.detach(), value=float(value.detach()), gradient=gradient)


@pytest.mark.parametrize(("seed", "feasible"), list(enumerate(SETS)))
@pytest.mark.parametrize("rule", RULES)
def test_minimizes_a_convex_quadratic(rule, feasible, seed):
    problem, project = Quadratic(seed), SETS[feasible]
    lowest = problem.minimum(project)
    solution = descend(problem, problem.start, rule=RULES[rule], project=project, evaluations=600)
    to_gain = float(problem(problem.start)) - lowest
    assert -1e-9 <= solution.value - lowest <= 0.02 * to_gain
    assert torch.equal(project(solution.x), solution.x) or feasible == "ball"


class TestNormalizedGradient:
    @given(scale=st.floats(1e-6, 1e6), step_size=st.floats(0.001, 1), seed=st.integers(0, 100))
    def test_the_step_has_exactly_its_length_whatever_the_gradient(self, scale, step_size, seed):
        x = torch.zeros(2, 3, 4, dtype=torch.float64)
        gradient = scale * torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        candidate, _ = NormalizedGradient(step_size=step_size).step(Point(x=x, value=0.0, gradient=gradient), None)
        assert float(torch.linalg.vector_norm(candidate)) == pytest.approx(step_size, rel=1e-12)
        cosine = float((candidate * gradient).sum()) / (step_size * float(torch.linalg.vector_norm(gradient)))
        assert cosine == pytest.approx(-1, rel=1e-12)

    @pytest.mark.parametrize("step_size", [0.0, -1.0, math.nan])
    def test_step_size_must_be_positive(self, step_size):
        with pytest.raises(UsageError, match="step_size"):
            NormalizedGradient(step_size=step_size)


class TestLBFGS:
    def test_the_first_step_is_steepest_descent_of_the_stated_size(self):
        x, gradient = torch.zeros(3), torch.tensor([0.5, -2.0, 1.0])
        rule = LBFGS(first_step=0.01, max_step=1.0)
        candidate, _ = rule.step(Point(x=x, value=1.0, gradient=gradient), rule.init())
        torch.testing.assert_close(candidate, -0.005 * gradient)

    def test_no_step_exceeds_its_cap(self):
        problem = Quadratic(0, condition=100.0)
        rule = LBFGS(first_step=0.02, max_step=0.05)
        x, state, longest = problem.start, rule.init(), 0.0
        for _ in range(40):
            point = at(problem, x)
            x, state = rule.step(point, state)
            # A candidate starts from the base; where the point was a bad step, that is the point before it.
            longest = max(longest, float((x - state.base.x).abs().max()))
        assert longest == pytest.approx(0.05)

    def test_the_direction_is_that_of_the_dense_formula(self):
        # The inverse Hessian estimate written out as a matrix, from γI through every pair, oldest first.
        problem = Quadratic(4, condition=30.0)
        rule = LBFGS(first_step=0.01, max_step=1e9, memory=3)
        x, state, points = problem.start, rule.init(), []
        for _ in range(6):
            points.append(at(problem, x))
            x, state = rule.step(points[-1], state)
            assert state.base is points[-1], "this problem is chosen so that every step is accepted"
        pairs = [(b.x - a.x, b.gradient - a.gradient) for a, b in itertools.pairwise(points)][-3:]
        identity = torch.eye(len(x), dtype=torch.float64)
        move, change = pairs[-1]
        inverse = identity * (move @ change) / (change @ change)
        for move, change in pairs:
            left = identity - torch.outer(move, change) / (move @ change)
            inverse = left @ inverse @ left.T + torch.outer(move, move) / (move @ change)
        torch.testing.assert_close(x - points[-1].x, -inverse @ points[-1].gradient, rtol=1e-9, atol=1e-12)

    def test_second_order_information_pays(self):
        # Steepest descent needs hundreds of steps for this condition number.
        problem = Quadratic(3, condition=100.0)
        rule = LBFGS(first_step=0.1, max_step=10.0)
        solution = descend(problem, problem.start, rule=rule, project=lambda x: x, evaluations=40)
        assert solution.value < 1e-6 * float(problem(problem.start))

    def test_a_bad_step_is_taken_back_and_shortened(self):
        def objective(x):
            return x.square().sum()

        rule = LBFGS(first_step=10.0, max_step=10.0)
        start = at(objective, torch.tensor([1.0], dtype=torch.float64))
        candidate, state = rule.step(start, rule.init())
        worse = at(objective, candidate)
        assert worse.value > start.value
        shortened, state = rule.step(worse, state)
        # The parabola through both points is the objective itself, but a tenth of the way is the least: here, 0.
        assert shortened.item() == pytest.approx(0.0, abs=1e-12)
        assert at(objective, shortened).value < start.value

    def test_the_parabola_is_held_between_a_tenth_and_a_half_of_the_way(self):
        rule = LBFGS(first_step=1.0, max_step=1.0)
        start = Point(x=torch.zeros(1), value=0.0, gradient=torch.tensor([1.0]))
        for value, share in ((0.01, 0.495), (1e9, 0.1), (1.0, 0.25)):
            candidate, state = rule.step(start, rule.init())
            shortened, _ = rule.step(Point(x=candidate, value=value, gradient=torch.tensor([-1.0])), state)
            assert shortened.item() == pytest.approx(-share, abs=5e-3)

    @pytest.mark.parametrize(
        ("evaluations", "first_step"), [(1, 0.1), (2, 5.0), (3, 0.001), (20, 5.0), (200, 0.001), (200, 0.1)]
    )
    def test_the_rosenbrock_function_never_ends_above_its_start(self, evaluations, first_step):
        def rosenbrock(x):
            return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

        start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
        rule = LBFGS(first_step=first_step, max_step=max(0.5, first_step))
        solution = descend(rosenbrock, start, rule=rule, project=lambda x: x, evaluations=evaluations)
        assert solution.value <= float(rosenbrock(start))
        assert solution.value == float(rosenbrock(solution.x))
        if evaluations == 200:
            assert solution.value < 1e-6

    def test_bases_only_descend(self):
        # Every point that a step starts from is at least as good as the one before.
        problem = Quadratic(1, condition=1000.0)
        rule = LBFGS(first_step=1.0, max_step=1.0)
        x, state, bases = problem.start, rule.init(), []
        for _ in range(60):
            x, state = rule.step(at(problem, x), state)
            bases.append(state.base.value)
        assert all(after <= before for before, after in itertools.pairwise(bases))
        assert bases[-1] < bases[0]

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_step_to_an_undefined_value_is_taken_back(self, bad):
        def objective(x):
            inside = (x - 0.1).square().sum()
            return inside if float(x.detach().abs().max()) < 1 else inside * bad

        start = torch.tensor([0.9, -0.9], dtype=torch.float64)
        rule = LBFGS(first_step=3.0, max_step=3.0)
        solution = descend(objective, start, rule=rule, project=lambda x: x, evaluations=20)
        assert solution.value < 1e-3

    @pytest.mark.parametrize("memory", [1, 3, 30])
    def test_memory_is_bounded(self, memory):
        problem = Quadratic(2)
        rule = LBFGS(memory=memory)
        x, state = problem.start, rule.init()
        for _ in range(12):
            x, state = rule.step(at(problem, x), state)
        assert len(state.pairs) == min(memory, 11)

    @pytest.mark.parametrize("wrong", [{"first_step": 0.0}, {"max_step": -1.0}, {"memory": 0}, {"max_step": math.nan}])
    def test_settings_are_checked(self, wrong):
        with pytest.raises(UsageError, match="LBFGS"):
            LBFGS(**wrong)

    @pytest.mark.parametrize(
        ("rule", "iterates"),
        [
            (
                LBFGS(first_step=0.1, max_step=0.5),
                {
                    1: (-1.0999999999999999, 1.0408163265306123),
                    2: (-1.0425650013590944, 1.0662749525700388),
                    3: (-1.0314941782845979, 1.069806238043245),
                    5: (-1.0233189566544196, 1.0613423081767248),
                    12: (-0.5739318270025161, 0.3007839432290944),
                    29: (0.6127396255421887, 0.3689934951314012),
                },
            ),
            (
                LBFGS(first_step=5.0, max_step=5.0, memory=3),
                {
                    1: (3.8, 3.0408163265306123),
                    2: (-0.7, 1.2040816326530612),
                    3: (-0.9977373480255887, 1.0825561844793516),
                    8: (-0.8879265898504192, 0.749682719428411),
                    29: (0.4955427248623613, 0.21209645306958705),
                },
            ),
        ],
        ids=["short", "long"],
    )
    def test_known_iterates(self, rule, iterates):
        # Of the Rosenbrock function, with bad steps among them; frozen, so that presets keep their results.
        seen = []

        def rosenbrock(x):
            seen.append(x.detach().tolist())
            return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

        start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
        descend(rosenbrock, start, rule=rule, project=lambda x: x, evaluations=30)
        for index, expected in iterates.items():
            assert seen[index] == pytest.approx(expected, rel=1e-7)

    def test_failures_end_in_a_small_gradient_step_from_the_base(self):
        rule = LBFGS(first_step=0.1, max_step=1.0)
        base = Point(x=torch.zeros(2), value=1.0, gradient=torch.tensor([2.0, -1.0]))
        candidate, state = rule.step(base, rule.init())
        sizes = []
        for _ in range(40):
            worse = Point(x=candidate, value=math.nan, gradient=torch.full((2,), math.nan))
            candidate, state = rule.step(worse, state)
            assert state.base is base
            sizes.append(float(candidate.abs().max()))
        torch.testing.assert_close(candidate / candidate[0].abs(), torch.tensor([-1.0, 0.5]))
        assert sizes[4] == pytest.approx(0.1)
        assert sizes[-1] < 1e-9
        assert state.pairs == ()
