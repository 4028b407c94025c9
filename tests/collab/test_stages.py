"""Stages: their order, what each begins with and counts, and which LR picture is handed over."""

from __future__ import annotations

import importlib
import itertools
import math
from dataclasses import dataclass

import pytest
import torch

import hcd
from hcd.collab import LOSSES, CompressedSize, Compression, Loss, Mixed
from hcd.image import Codec
from hcd.solver import Adam, NormalizedGradient, StepRule
from tests.conftest import make_smooth_picture, make_tiny_irn

LEVEL = 1 / 255


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
    def test_the_lr_stage_begins_with_what_the_hr_sample_becomes(self, hr, model):
        result = hcd.collaborate(hr, model, "plain", steps_hr=3, steps_lr=1, epsilon_hr=0.05)
        assert not torch.equal(result.collaborative_hr, hr)
        assert torch.equal(result.lr_start, hcd.quantize(model.downscale(result.collaborative_hr)))
        assert result.history[3].psnr == pytest.approx(seen_psnr(result.lr_start, hr, model), abs=1e-4)


class TestStopping:
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
def test_each_loss_is_minimized_better_than_by_another(photo, name):
    """Measured as the stage sees it: rounding and clamping come after it and can turn a small difference around."""
    model = make_tiny_irn(4)
    own, other = (
        hcd.collaborate(photo, model, "balanced", loss=loss, min_lr_psnr=0.0).collaborative_lr for loss in (name, "rgb")
    )
    seen = [float(LOSSES[name].total(model.upscale(lr)[..., :28, :36], photo)) for lr in (own, other)]
    assert seen[0] < 0.998 * seen[1]


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
    "another loss": {"steps_lr": 2, "loss": "charbonnier"},
    "hr": {"steps_hr": 2},
    "hr unrounded": {"steps_hr": 2, "round_hr": False},
    "random start": {
        **{"steps_hr": 1, "steps_lr": 1, "random_start": True, "norm": "l2"},
        **{"epsilon_hr": 0.3, "epsilon_lr": 0.3},
    },
    "adversarial": {"steps_lr": 2, "direction": "adversarial"},
    "jpeg, hr": {"steps_hr": 2, "rounding": Compression(codec=JPEG)},
    "jpeg, lr": {"steps_lr": 2, "rounding": Compression(codec=JPEG)},
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


@pytest.mark.parametrize("stage", ["hr", "lr"])
def test_flat_pictures_survive_every_stage(stage):
    for value in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 6, 8), value)
        result = hcd.collaborate(flat, hcd.load("bicubic-x2"), "plain", **{f"steps_{stage}": 3})
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
