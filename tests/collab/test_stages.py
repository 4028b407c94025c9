"""Stages: their order, what each begins with and counts, and which LR picture is handed over."""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import dataclass

import pytest
import skimage.data
import torch

import hcd
from hcd import memory
from hcd.collab import LOSSES, CompressedSize, Compression, Fidelity, Loss, Mixed
from hcd.collab.fit import Solving
from hcd.image import Codec
from hcd.ops import ball_norm
from hcd.rescaler import GrayRescaler
from hcd.solver import LBFGS, Adam, GaussNewton, NormalizedGradient, StepRule
from tests.conftest import make_smooth_picture, make_tiny_irn

LEVEL = 1 / 255
LONG = LBFGS(first_step=0.2, max_step=0.2)


@pytest.fixture
def photo(photo):
    """An eye, 28×36."""
    return photo[..., 10:38, 4:40].contiguous()


@pytest.fixture
def hr():
    """Smaller than a photograph's crop; its sides are no multiples of the scale."""
    return make_smooth_picture(22, 31)


@pytest.fixture(scope="module")
def model():
    return make_tiny_irn(2)


def restored(lr, hr, model):
    """What a receiver has of an LR file."""
    return hcd.quantize(model.upscale(lr))[..., : hr.shape[-2], : hr.shape[-1]]


def restored_psnr(lr, hr, model):
    return hcd.psnr(restored(lr, hr, model), hr, channel="rgb")


def seen_psnr(lr, hr, model):
    """What the loop has of an LR picture: nothing is rounded."""
    return hcd.psnr(model.upscale(lr)[..., : hr.shape[-2], : hr.shape[-1]], hr, channel="rgb")


def steps_of(result):
    """Evaluations of every stage, in the order of the stages."""
    return [(stage, [e.step for e in entries]) for stage, entries in itertools.groupby(result.history, _stage)]


def _stage(entry):
    return entry.stage


@dataclass(frozen=True)
class Leap(StepRule):
    """From wherever it is to the same place; it stays where that is of another shape."""

    to: torch.Tensor

    def init(self):
        return None

    def step(self, point, state):
        return (self.to if self.to.shape == point.x.shape else point.x), state


class TestOrder:
    @pytest.mark.parametrize("stages", list(itertools.permutations(("hr", "lr", "both"))), ids=str)
    def test_as_named(self, hr, model, stages):
        result = hcd.collaborate(
            hr, model, "plain", stages=stages, steps_hr=2, steps_lr=3, steps_both=1, steps_finish=2
        )
        counts = {"hr": [1, 2], "lr": [1, 2, 3], "both": [1]}
        assert steps_of(result) == [*((stage, counts[stage]) for stage in stages), ("finish", [1, 2])]
        assert result.grad_evals == 8
        assert result.psnr[0] >= result.plain_psnr[0]
        assert result.psnr[0] == pytest.approx(restored_psnr(result.lr, hr, model))

    def test_stages_without_steps_are_skipped(self, hr, model):
        result = hcd.collaborate(hr, model, "plain", stages=("both", "lr", "hr"), steps_lr=2)
        assert steps_of(result) == [("lr", [1, 2])]

    @pytest.mark.parametrize("stages", [("hr", "lr"), ("lr", "hr"), ("both",), ("lr", "both"), ("both", "lr", "hr")])
    @pytest.mark.parametrize("direction", ["collaborative", "adversarial"])
    def test_every_order_leads_somewhere(self, photo, stages, direction):
        steps = {f"steps_{stage}": 3 for stage in stages}
        result = hcd.collaborate(photo, make_tiny_irn(4), "plain", stages=stages, direction=direction, **steps)
        gain = result.psnr[0] - result.plain_psnr[0]
        assert gain > 0.1 if direction == "collaborative" else gain < -0.1
        assert not result.kept_plain[0]

    def test_the_lr_stage_begins_with_what_the_hr_sample_becomes(self, hr, model):
        result = hcd.collaborate(hr, model, "plain", steps_hr=3, steps_lr=1, epsilon_hr=0.05)
        assert not torch.equal(result.collaborative_hr, hr)
        assert torch.equal(result.lr_start, hcd.quantize(model.downscale(result.collaborative_hr)))
        assert result.history[3].psnr == pytest.approx(seen_psnr(result.lr_start, hr, model), abs=1e-4)

    @pytest.mark.parametrize("round_hr", [True, False])
    def test_the_hr_stage_begins_with_what_the_lr_stage_found(self, photo, round_hr):
        model = make_tiny_irn(4)
        found = hcd.collaborate(photo, model, "plain", steps_lr=4).collaborative_lr
        assert not torch.equal(found, hcd.quantize(found))
        options = {"rule": Leap(found), "steps_lr": 2, "steps_hr": 1, "round_hr": round_hr}
        *_, begun = hcd.collaborate(photo, model, "plain", stages=("lr", "hr"), **options).history
        assert begun.stage == "hr"
        wanted = seen_psnr(hcd.quantize(found) if round_hr else found, photo, model)
        assert begun.psnr == pytest.approx(wanted, abs=1e-4)

    def test_the_hr_stage_keeps_what_the_lr_stage_won(self, photo):
        model = make_tiny_irn(4)
        alone = hcd.collaborate(photo, model, "plain", steps_lr=4)
        both = hcd.collaborate(photo, model, "plain", stages=("lr", "hr"), steps_lr=4, steps_hr=3, rule=LBFGS())
        assert both.psnr[0] > alone.psnr[0] - 0.03


BOTH = {"preset": "plain", "stages": ("both",)}


class TestBoth:
    def test_begins_with_plain(self, hr, model):
        result = hcd.collaborate(hr, model, **BOTH, steps_both=1)
        assert result.history[0].psnr == pytest.approx(seen_psnr(result.plain_lr, hr, model), abs=1e-3)
        assert torch.equal(result.lr_start, result.plain_lr)

    def test_begins_at_random_where_that_is_asked_for(self, photo):
        options = {**BOTH, "steps_both": 1, "norm": "l2", "epsilon_hr": 0.5, "epsilon_lr": 0.5, "random_start": True}
        first, again, other = (hcd.collaborate(photo, make_tiny_irn(4), **options, seed=seed) for seed in (1, 1, 2))
        plain = seen_psnr(first.plain_lr, photo, make_tiny_irn(4))
        assert first.history[0].psnr == again.history[0].psnr
        assert len({first.history[0].psnr, other.history[0].psnr, plain}) == 3

    def test_moves_both(self, photo):
        model = make_tiny_irn(4)
        result = hcd.collaborate(photo, model, **BOTH, steps_both=6)
        assert result.psnr[0] > result.plain_psnr[0] + 0.1
        offset = result.collaborative_lr - model.downscale(result.collaborative_hr)
        plain_offset = result.plain_lr - model.downscale(photo)
        for moved in (result.collaborative_hr - photo, offset - plain_offset):
            assert float(moved.abs().max()) > 0.1 * LEVEL

    @pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
    def test_each_stays_in_its_ball(self, photo, norm):
        model = make_tiny_irn(4)
        radius = {"l1": 5.0, "l2": 0.3, "linf": 2 * LEVEL}[norm]
        result = hcd.collaborate(
            photo, model, **BOTH, steps_both=4, norm=norm, epsilon_hr=radius, epsilon_lr=radius / 2, rule=LONG
        )
        assert 0 < ball_norm(result.collaborative_hr - photo, norm) <= radius * (1 + 1e-4)
        offset = result.collaborative_lr - model.downscale(result.collaborative_hr)
        moved = offset - (result.plain_lr - model.downscale(photo))
        # Where the LR sample was not clamped to the range of pictures.
        inside = (result.collaborative_lr > 0) & (result.collaborative_lr < 1)
        assert 0 < ball_norm(moved * inside, norm) <= radius / 2 * (1 + 1e-4)

    def test_of_one_sample_alone_is_that_samples_stage(self, photo):
        """With no room for the HR sample, it is the LR stage; windows of the rule apart, which need a picture."""
        model = make_tiny_irn(4)
        rule = LBFGS(window=None)
        joint = hcd.collaborate(photo, model, **BOTH, steps_both=5, epsilon_hr=0.0, rule=rule)
        alone = hcd.collaborate(photo, model, "plain", steps_lr=5, rule=rule)
        wanted = [entry.psnr for entry in alone.history]
        assert [entry.psnr for entry in joint.history] == pytest.approx(wanted, abs=0.01)
        assert torch.equal(joint.collaborative_hr, photo)

    @pytest.mark.parametrize("bound", [{"max_change": 1}, {"min_lr_psnr": 46.0}], ids=["change", "psnr"])
    def test_keeps_the_bounds_of_the_file(self, photo, bound):
        options = {**BOTH, "steps_both": 4, "rule": LONG, "never_worse": False, **bound}
        result = hcd.collaborate(photo, make_tiny_irn(4), **options)
        change = ((result.lr - result.plain_lr) / LEVEL).round().abs()
        assert 1 <= float(change.max()) <= bound.get("max_change", 255)
        assert hcd.psnr(result.lr, result.plain_lr, channel="rgb") >= bound.get("min_lr_psnr", 0)


class TestCounting:
    @pytest.mark.parametrize(
        "steps",
        [
            {"steps_lr": 9},
            {"steps_lr": 0, "steps_hr": 7},
            {"steps_lr": 0, "steps_hr": 6, "round_hr": False},
            {"steps_hr": 4, "steps_lr": 5, "rounding": "straight-through"},
            {"steps_lr": 0, "steps_both": 6, "stages": ("both",)},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("gray", [False, True], ids=["color", "gray"])
    def test_products_are_evaluations(self, photo, model, steps, gray):
        result = hcd.collaborate(photo, GrayRescaler(model) if gray else model, "fast", rule=GaussNewton(), **steps)
        assert result.grad_evals == sum(count for name, count in steps.items() if name.startswith("steps"))
        assert len(result.history) < result.grad_evals
        assert result.psnr[0] >= result.plain_psnr[0]

    def test_products_help(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), "balanced", rule="gauss-newton")
        assert result.psnr[0] > result.plain_psnr[0] + 0.2

    def test_in_tiles(self, monkeypatch):
        monkeypatch.setattr(memory, "_spare", lambda device, limit: limit)
        for share in ("_LR_TENSORS", "_LR_TENSORS_PER_STEP", "_HR_TENSORS", "_HOLES", "_MEASURING"):
            monkeypatch.setattr(memory, share, 0)
        hr, bicubic = make_smooth_picture(90, 100), hcd.load("bicubic-x2")
        per_pixel = memory._MARGIN * memory.bytes_per_pixel(Solving(), hr, bicubic)
        results = [
            hcd.collaborate(hr, bicubic, "fast", rule="gauss-newton", steps_lr=6, memory=limit, on_tile=tile)
            for limit, tile in ((2**40, None), (int(per_pixel * 60**2), lambda number, tiles: seen.append(tiles)))
            if (seen := []) is not None
        ]
        assert seen
        assert seen[0] > 1
        assert results[1].grad_evals == 6
        assert results[1].psnr[0] == pytest.approx(results[0].psnr[0], abs=0.02)
        assert results[1].psnr[0] > results[1].plain_psnr[0]


STAGES = {"preset": "plain", "stages": ("lr", "both"), "steps_lr": 6, "steps_both": 6, "steps_finish": 3}


class TestStopping:
    def test_at_the_target_every_stage_looks_once(self, photo):
        model = make_tiny_irn(4)
        free = hcd.collaborate(photo, model, **STAGES)
        target = free.history[3].psnr - 1e-6
        result = hcd.collaborate(photo, model, **STAGES, target_psnr=target)
        first = next(step for step, entry in enumerate(free.history, 1) if entry.psnr >= target)
        assert steps_of(result)[:2] == [("lr", list(range(1, first + 1))), ("both", [1])]

    def test_a_tolerance_ends_each_stage_by_itself(self, photo):
        model = make_tiny_irn(4)
        options = {"preset": "plain", "steps_lr": 60}
        full = hcd.collaborate(photo, model, **options)
        early = hcd.collaborate(photo, model, **options, tolerance=0.02)
        assert early.grad_evals < full.grad_evals == 60
        best = [min(entry.loss for entry in early.history[: count + 1]) for count in range(early.grad_evals)]
        falls = [before / after - 1 for before, after in zip(best, best[3:], strict=False)]
        assert falls[-1] < 0.02
        assert all(fall >= 0.02 for fall in falls[:-1])
        assert early.psnr[0] > early.plain_psnr[0]

    def test_out_of_time_no_levels_are_flipped(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), **STAGES, max_seconds=0.0)
        assert steps_of(result) == [("lr", [1]), ("both", [1])]
        assert result.psnr[0] >= result.plain_psnr[0]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("steps", [{"steps_lr": 5}, {"steps_hr": 3, "steps_lr": 0}], ids=["lr", "hr"])
def test_never_worse_by_any_loss(photo, name, steps):
    model = make_tiny_irn(4)
    result = hcd.collaborate(photo, model, "fast", loss=name, **steps)
    lost, plain = (
        float(LOSSES[name].total(restored(lr, photo, model).double(), photo.double()))
        for lr in (result.lr, result.plain_lr)
    )
    assert lost < plain
    assert LOSSES[name].is_no_worse(*(restored(lr, photo, model) for lr in (result.lr, result.plain_lr)), photo)
    # That of the picture before it is rounded and clamped.
    assert result.history[0].loss == pytest.approx(plain / photo[0, 0].numel(), rel=0.03)


@pytest.mark.parametrize("name", ["y", "charbonnier"])
def test_a_loss_is_better_served_by_itself_than_by_another(photo, name):
    model = make_tiny_irn(4)
    results = [hcd.collaborate(photo, model, "balanced", loss=loss, min_lr_psnr=0.0) for loss in (name, "rgb")]
    own, other = (
        float(LOSSES[name].total(restored(result.lr, photo, model).double(), photo.double())) for result in results
    )
    assert own < other


class Red(Loss):
    """The squared error of the first channel alone."""

    def total(self, hr_hat, hr):
        return (hr_hat[:, 0] - hr[:, 0]).square().sum()


class Blue(Loss):
    """The squared error of the last channel alone."""

    def total(self, hr_hat, hr):
        return (hr_hat[:, 2] - hr[:, 2]).square().sum()


@dataclass(frozen=True)
class Leaps(StepRule):
    """From wherever it is to these places, one after the other."""

    to: tuple[torch.Tensor, ...]

    def init(self):
        return 0

    def step(self, point, state):
        return self.to[min(state, len(self.to) - 1)], state + 1


class TestNeverWorseByAnyTerm:
    """The channels of bicubic know nothing of each other: red can be bought with blue."""

    RED_MOSTLY = Mixed(((1.0, Red()), (0.01, Blue())))

    @pytest.fixture
    def model(self):
        return hcd.load("bicubic-x4")

    @pytest.fixture
    def samples(self, photo, model):
        """Plain, one that is a little better in every channel, and one with the best red and a spoiled blue."""
        plain = hcd.quantize(model.downscale(photo))
        solved = hcd.collaborate(photo, model, "balanced").lr
        better, spoiled = plain.lerp(solved, 0.6), solved.clone()
        spoiled[:, 2] = plain[:, 2].lerp(plain[:, 2].flip(-1), 0.05)
        return [hcd.quantize(lr) for lr in (plain, better, spoiled)]

    def solve(self, photo, model, *to, **options):
        rule = Leaps(to)
        return hcd.collaborate(
            photo, model, steps_lr=len(to), rule=rule, loss=self.RED_MOSTLY, min_lr_psnr=0.0, epsilon_lr=1.0, **options
        )

    def test_what_is_better_by_the_sum_alone_is_refused(self, photo, model, samples):
        plain, _, spoiled = samples
        assert torch.equal(self.solve(photo, model, spoiled).lr, plain)
        allowed = self.solve(photo, model, spoiled, never_worse=False)
        assert torch.equal(allowed.lr, spoiled)
        found, before = (self.RED_MOSTLY.total(restored(lr, photo, model), photo) for lr in (spoiled, plain))
        assert found < before

    def test_what_would_be_refused_gives_way(self, photo, model, samples):
        _, better, spoiled = samples
        assert torch.equal(self.solve(photo, model, better, spoiled).lr, better)
        assert torch.equal(self.solve(photo, model, better, spoiled, never_worse=False).lr, spoiled)

    def test_flips_of_single_levels_are_no_exception(self):
        """On this part, flips win by the sum and lose by a term."""
        hr = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[None, :, 420:436, 300:320].float() / 255
        model = make_tiny_irn(4)
        without = hcd.collaborate(hr, model, "fast", steps_lr=2)
        assert without.psnr[0] > without.plain_psnr[0] + 0.1
        finished = hcd.collaborate(hr, model, "fast", steps_lr=2, steps_finish=4)
        assert finished.psnr[0] > finished.plain_psnr[0] + 0.1


class TestHandedOver:
    """The last evaluated sample is a step away from the last proposed one, which nothing has evaluated."""

    def test_the_last_step_counts(self, photo):
        model = make_tiny_irn(4)
        result = hcd.collaborate(photo, model, "fast", steps_lr=1)
        assert result.psnr[0] > result.plain_psnr[0] + 0.02
        assert result.psnr[0] == pytest.approx(restored_psnr(result.lr, photo, model))
        assert float((result.collaborative_lr - result.plain_lr).abs().max()) == pytest.approx(4 * LEVEL)

    def test_unless_it_is_worse(self, photo):
        model = make_tiny_irn(4)
        plain = hcd.quantize(model.downscale(photo))
        result = hcd.collaborate(photo, model, steps_lr=1, rule=Leap(plain.flip(-1)), min_lr_psnr=0.0)
        assert torch.equal(result.lr, plain)
        kept = hcd.collaborate(
            photo, model, steps_lr=1, rule=Leap(plain.flip(-1)), min_lr_psnr=0.0, keep="last", never_worse=False
        )
        assert not torch.equal(kept.lr, plain)
        assert kept.psnr[0] < kept.plain_psnr[0]

    def test_is_compared_by_the_loss_that_is_minimized(self, photo):
        """Green and blue of a better LR picture, with a worse red: its PSNR is higher, and its loss too."""
        model = hcd.load("bicubic-x4")
        better = hcd.collaborate(photo, model, "balanced").lr
        better[:, 0] = hcd.quantize(model.downscale(photo))[:, 0].flip(-1).lerp(better[:, 0], 0.9)
        plain = hcd.collaborate(photo, model, "plain").lr
        assert restored_psnr(better, photo, model) > restored_psnr(plain, photo, model)
        red_better, red_plain = (Red().total(restored(lr, photo, model), photo) for lr in (better, plain))
        assert red_better > red_plain
        result = hcd.collaborate(photo, model, steps_lr=1, rule=Leap(better), loss=Red(), never_worse=False)
        assert torch.equal(result.lr, plain)

    @pytest.mark.parametrize("rule", [NormalizedGradient(step_size=0.4), Adam(step_size=0.05, max_step=0.2)])
    def test_last_is_what_the_rule_ends_with(self, photo, rule):
        model = make_tiny_irn(4)
        options = {"rule": rule, "min_lr_psnr": 0.0, "never_worse": False, "precision": "float32"}
        last = hcd.collaborate(photo, model, steps_lr=3, keep="last", **options)
        # One evaluation more is of that very sample.
        more = hcd.collaborate(photo, model, steps_lr=4, keep="last", **options)
        assert more.history[3].psnr == pytest.approx(seen_psnr(last.collaborative_lr, photo, model), abs=1e-4)


JPEG = Codec(format="jpeg", quality=40)
FIGURES = {
    "in the loop": {"steps_lr": 2},
    "rounded in the loop": {"steps_lr": 2, "rounding": "straight-through"},
    "soft": {"steps_lr": 2, "rounding": "soft"},
    "penalty": {"steps_lr": 2, "penalties": (Fidelity(weight=0.1),)},
    "another loss": {"steps_lr": 2, "loss": "ssim"},
    "hr": {"steps_hr": 2},
    "hr unrounded": {"steps_hr": 2, "round_hr": False},
    "random start": {
        **{"steps_hr": 1, "steps_lr": 1, "random_start": True, "norm": "l2"},
        **{"epsilon_hr": 0.3, "epsilon_lr": 0.3},
    },
    "both": {"steps_both": 2, "stages": ("both",)},
    "flips alone": {"steps_finish": 2},
    "adversarial": {"steps_lr": 2, "direction": "adversarial"},
    "jpeg, hr": {"steps_hr": 2, "rounding": Compression(codec=JPEG)},
    "jpeg, lr": {"steps_lr": 2, "rounding": Compression(codec=JPEG)},
    "jpeg, both": {"steps_both": 2, "stages": ("both",), "rounding": Compression(codec=JPEG)},
    "jpeg, flips": {"steps_finish": 2, "rounding": Compression(codec=JPEG)},
    "jpeg, size": {
        **{"steps_hr": 1, "steps_lr": 1, "rounding": Compression(codec=JPEG)},
        "penalties": (CompressedSize(codec=JPEG, weight=1e-4),),
    },
    "webp, hr": {"steps_hr": 2, "rounding": Compression(codec=Codec(format="webp", quality=40))},
    "webp, lr": {"steps_lr": 2, "rounding": Compression(codec=Codec(format="webp", quality=40))},
}


@pytest.mark.parametrize("settings", FIGURES.values(), ids=FIGURES)
def test_figures_are_those_of_the_files(photo, settings):
    """Whether plain was judged in the loop, on the way, or at the end."""
    model = make_tiny_irn(4)
    rounding = settings.get("rounding")
    stored = rounding.stored if isinstance(rounding, Compression) else lambda lr: lr
    result = hcd.collaborate(photo, model, "plain", **settings)
    assert result.psnr[0] == pytest.approx(restored_psnr(stored(result.lr), photo, model), abs=1e-4)
    assert result.plain_psnr[0] == pytest.approx(restored_psnr(stored(result.plain_lr), photo, model), abs=1e-4)
    if settings.get("loss") is None and settings.get("direction") is None:
        assert result.psnr[0] >= result.plain_psnr[0]


def test_pictures_of_a_batch_do_not_see_each_other(photo):
    model = make_tiny_irn(4)
    batch = torch.cat([photo, photo.flip(-1)])
    options = {
        **{"stages": ("both", "lr"), "steps_both": 2, "steps_lr": 3, "steps_finish": 2},
        **{"rounding": "soft", "loss": "y", "penalties": (Fidelity(),)},
    }
    together = hcd.collaborate(batch, model, "fast", **options)
    for index in range(2):
        alone = hcd.collaborate(batch[index : index + 1], model, "fast", **options)
        assert torch.equal(together.lr[index : index + 1], alone.lr)
        assert together.psnr[index] == alone.psnr[0]
        losses = [entry.loss for entry in together.history if entry.picture == index]
        assert losses == [entry.loss for entry in alone.history]


@pytest.mark.parametrize("stage", ["hr", "lr", "both"])
def test_flat_pictures_survive_every_stage(stage):
    for value in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 6, 8), value)
        options = {"stages": (stage,), f"steps_{stage}": 3, "steps_finish": 2}
        result = hcd.collaborate(flat, hcd.load("bicubic-x2"), "plain", **options)
        assert result.psnr[0] >= result.plain_psnr[0]
        assert math.isfinite(result.history[0].loss)


@pytest.mark.parametrize(("keeps", "times"), [(False, 0), (True, 2)])
def test_kept_memory_is_given_back_every_eight_evaluations(photo, model, monkeypatch, keeps, times):
    given = []
    stages = importlib.import_module("hcd.collab.stages")
    monkeypatch.setattr(stages, "keeps_freed", lambda: keeps)
    monkeypatch.setattr(stages, "give_back", lambda: given.append(1))
    assert hcd.collaborate(photo, model, "fast", steps_lr=17, tolerance=0).grad_evals == 17
    assert len(given) == times
