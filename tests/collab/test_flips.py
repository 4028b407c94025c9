"""Single gray levels flipped: the best flips of known problems, bounds, and never worse than before."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import hcd
from hcd.collab import Fidelity, LevelFlips
from hcd.errors import UsageError
from hcd.rescaler import GrayRescaler
from hcd.solver import Point, Stopped, descend
from tests.conftest import make_smooth_picture, make_tiny_irn

LEVEL = 1 / 255


@pytest.fixture
def photo(photo):
    """An eye, 28×36."""
    return photo[..., 10:38, 4:40].contiguous()


def flip(objective, start, evaluations, *, low=0.0, high=1.0, rule=None, seen=None):
    def watched(x):
        if seen is not None:
            seen.append(x.detach().clone())
        return objective(x)

    return descend(
        watched,
        start,
        rule=rule or LevelFlips(),
        project=lambda x: x.maximum(torch.as_tensor(low)).minimum(torch.as_tensor(high)),
        evaluations=evaluations,
        box=(low, high),
    )


def lattice(x):
    """In whole gray levels; fails where it is not on them."""
    levels = x * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
    return levels.round()


class TestOfAQuadratic:
    """``Σ (x − t)²`` on the lattice, whose minimum is the rounded target."""

    @staticmethod
    def problem(offsets):
        """From level 100 everywhere, with targets so many levels away."""
        start = torch.full((1, 3, 6, 8), 100 * LEVEL, dtype=torch.float64)
        target = start + offsets * LEVEL
        return start, lambda x: (x - target).square().sum(), target

    def test_the_pixels_that_gain_are_moved_and_no_others(self):
        """By one level where the target is more than half a level away, by none elsewhere."""
        generator = torch.Generator().manual_seed(0)
        offsets = torch.rand(1, 3, 6, 8, generator=generator, dtype=torch.float64) * 2.6 - 1.3
        start, objective, target = self.problem(offsets)
        solution = flip(objective, start, 6)
        assert torch.equal(lattice(solution.x), (target * 255).round())

    def test_one_level_at_a_time(self):
        generator = torch.Generator().manual_seed(0)
        offsets = torch.rand(1, 3, 6, 8, generator=generator, dtype=torch.float64) * 9 - 4.5
        start, objective, target = self.problem(offsets)
        seen = []
        solution = flip(objective, start, 12, seen=seen)
        assert torch.equal(lattice(solution.x), (target * 255).round())
        for before, after in itertools.pairwise(seen):
            assert float((lattice(after) - lattice(before)).abs().max()) <= 1

    def test_first_the_few_with_the_steepest_slopes(self):
        """As long as no curvature is known."""
        offsets = torch.linspace(0.6, 1.4, 6 * 8 * 3, dtype=torch.float64).reshape(1, 3, 6, 8)
        start, objective, _ = self.problem(offsets)
        seen = []
        flip(objective, start, 2, seen=seen)
        moved = lattice(seen[1]) != lattice(seen[0])
        assert 1 <= int(moved.sum()) <= 4
        assert float(offsets[moved].min()) > float(offsets[~moved].max())

    def test_equal_slopes(self):
        start, objective, target = self.problem(torch.ones(1, 3, 6, 8, dtype=torch.float64))
        assert torch.equal(lattice(flip(objective, start, 4).x), lattice(target))

    @pytest.mark.parametrize("count", [1, 2, 3, 12])
    def test_few_pixels(self, count):
        start = torch.full((1, count, 1, 1), 0.2, dtype=torch.float64)
        target = start + torch.linspace(0.8, 1.2, count, dtype=torch.float64).reshape(start.shape) * LEVEL
        solution = flip(lambda x: (x - target).square().sum(), start, 5)
        assert torch.equal(lattice(solution.x), (target * 255).round())

    def test_nothing_to_gain_is_left_alone(self):
        start, objective, _ = self.problem(torch.full((1, 3, 6, 8), 0.3, dtype=torch.float64))
        assert torch.equal(flip(objective, start, 6).x, start)

    def test_without_slopes_nothing_moves(self):
        start, objective, _ = self.problem(torch.zeros(1, 3, 6, 8, dtype=torch.float64))
        assert torch.equal(flip(objective, start, 3).candidate, start)

    @pytest.mark.parametrize("bounded", [0.0, 1.0])
    def test_stays_inside_the_range(self, bounded):
        start = torch.full((1, 3, 4, 4), bounded, dtype=torch.float64)
        start[:, 0] = 128 * LEVEL
        target = start + (4 * bounded - 2) * LEVEL
        seen = []
        solution = flip(lambda x: (x - target).square().sum(), start, 8, seen=seen)
        for x in seen:
            assert 0 <= float(x.min()) <= float(x.max()) <= 1
        assert torch.equal(solution.x[:, 1:], start[:, 1:])
        assert torch.equal(lattice(solution.x[:, 0]), lattice(target[:, 0]))

    def test_pixels_on_a_bound_do_not_stand_in_the_way_of_others(self):
        """Those whose slopes are largest may not move any further."""
        start = torch.full((1, 3, 6, 8), 128 * LEVEL, dtype=torch.float64)
        target = start + LEVEL
        target[..., :4] += 30 * LEVEL
        high = start + LEVEL
        high[..., :4] = start[..., :4]
        solution = flip(lambda x: (x - target).square().sum(), start, 6, low=start - LEVEL, high=high)
        assert torch.equal(lattice(solution.x[..., :4]), lattice(start[..., :4]))
        assert torch.equal(lattice(solution.x[..., 4:]), lattice(target[..., 4:]))


def test_a_candidate_that_is_worse_is_halved_and_taken_from_its_base():
    """Pixels that only gain alone: their sum is steep."""
    start = torch.full((1, 1, 5, 8), 128 * LEVEL, dtype=torch.float64)
    slopes = torch.linspace(1.0, 1.5, 40, dtype=torch.float64).reshape(start.shape)

    def objective(x):
        moves = (start - x) / LEVEL
        return -(slopes * moves).sum() + 0.2 * moves.sum() ** 2

    seen = []
    solution = flip(objective, start, 12, seen=seen)
    values = [float(objective(x)) for x in seen]
    assert solution.value == min(values) < values[0]
    counts = [int((lattice(x) != lattice(start)).sum()) for x in seen]
    assert counts[0] == 0
    # On whole moves, Σ s − 0.2 n² is best with the three or four steepest.
    best = max(range(8), key=lambda n: float(slopes.flatten().sort(descending=True).values[:n].sum()) - 0.2 * n * n)
    assert min(values) <= 0.8 * (0.2 * best * best - float(slopes.flatten().sort(descending=True).values[:best].sum()))


def test_what_is_no_number_is_taken_back():
    """By half as many flips every time, until none is left."""
    x = torch.full((1, 3, 40, 40), 0.5)
    good = Point(x=x, value=1.0, gradient=torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
    rule = LevelFlips()
    candidate, state = rule.step(good, rule.init())
    counts = [int((candidate != x).sum())]
    bad = Point(x=candidate, value=math.nan, gradient=torch.full_like(x, math.nan))
    while counts[-1] > 1:
        candidate, state = rule.step(bad, state)
        counts.append(int((candidate != x).sum()))
    assert counts == [counts[0] // 2**halvings for halvings in range(len(counts))]
    with pytest.raises(Stopped):
        rule.step(bad, state)


def test_from_what_is_no_number_nothing_moves():
    x = torch.full((1, 3, 4, 4), 0.5)
    with pytest.raises(Stopped):
        LevelFlips().step(Point(x=x, value=math.nan, gradient=x * math.nan), LevelFlips().init())


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_settings_are_checked(share):
    with pytest.raises(UsageError, match="share"):
        LevelFlips(share=share)


class TestThroughTheMethod:
    @pytest.mark.parametrize("direction", ["collaborative", "adversarial"])
    @pytest.mark.parametrize("loss", ["rgb", "y"])
    def test_never_worse_than_without(self, photo, direction, loss):
        model = make_tiny_irn(4)
        options = {"preset": "fast", "direction": direction, "loss": loss, "precision": "float32", "min_lr_psnr": 0.0}
        before = hcd.collaborate(photo, model, **options)
        after = hcd.collaborate(photo, model, **options, steps_finish=6)
        sign = 1 if direction == "collaborative" else -1
        if loss == "rgb":
            assert sign * after.psnr[0] > sign * before.psnr[0]
        assert torch.equal(hcd.quantize(after.lr), after.lr)
        assert after.history[-1].stage == "finish"
        changed = (after.lr - before.lr).abs() > 0.5 * LEVEL
        assert 0 < int(changed.sum()) < 0.9 * changed.numel()

    def test_alone(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), "plain", steps_finish=8)
        assert result.grad_evals == 8
        assert result.psnr[0] > result.plain_psnr[0] + 0.02

    @pytest.mark.parametrize("max_change", [0, 1, 2])
    def test_keeps_the_bound(self, photo, max_change):
        result = hcd.collaborate(photo, make_tiny_irn(4), "fast", steps_finish=8, max_change=max_change)
        assert float(((result.lr - result.plain_lr) / LEVEL).round().abs().max()) <= max_change

    def test_ends_where_nothing_gains(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), "balanced", max_change=1, steps_finish=100)
        assert 0 < sum(entry.stage == "finish" for entry in result.history) < 100
        assert result.psnr[0] >= result.plain_psnr[0]

    def test_weighs_penalties(self, photo):
        """One that outweighs every gain leaves plain as it is."""
        result = hcd.collaborate(photo, make_tiny_irn(4), "plain", steps_finish=6, penalties=(Fidelity(weight=1e4),))
        assert torch.equal(result.lr, result.plain_lr)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_black_and_white(self, value):
        picture = torch.full((1, 3, 8, 12), value)
        result = hcd.collaborate(picture, make_tiny_irn(2), "fast", steps_finish=4)
        assert result.psnr[0] >= result.plain_psnr[0]
        assert 0 <= float(result.lr.min()) <= float(result.lr.max()) <= 1

    def test_gray(self):
        picture = make_smooth_picture(20, 26).mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        result = hcd.collaborate(picture, GrayRescaler(make_tiny_irn(2)), "plain", steps_finish=6)
        assert result.psnr[0] > result.plain_psnr[0]
