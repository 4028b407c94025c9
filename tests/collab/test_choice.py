"""Choosing the LR: metrics of the files, never worse than plain by any term, the last step, rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hcd
from hcd.collab import LOSSES, Loss, Lossless, Lossy, Mixed, Reconstruction
from hcd.collab.choice import Choice, round_within
from hcd.collab.stages import Sample
from hcd.image import Codec
from hcd.solver import Adam, NormalizedGradient, StepRule
from tests.collab.test_region import noise, rms
from tests.conftest import make_tiny_irn

LEVEL = 1 / 255


@pytest.fixture
def photo(photo):
    """An eye, 28×36."""
    return photo[..., 10:38, 4:40].contiguous()


def restored(lr, hr, model, levels=255):
    """What the receiver writes of a decoded LR."""
    return hcd.quantize(model.upscale(lr), levels)[..., : hr.shape[-2], : hr.shape[-1]]


def restored_psnr(lr, hr, model, levels=255):
    return hcd.psnr(restored(lr, hr, model, levels), hr, channel="rgb")


def seen_psnr(lr, hr, model):
    """What the loop sees of an LR: nothing is rounded."""
    return hcd.psnr(model.upscale(lr)[..., : hr.shape[-2], : hr.shape[-1]], hr, channel="rgb")


@dataclass(frozen=True)
class Leap(StepRule):
    """From wherever it is to the same place; it stays where that is of another shape."""

    to: torch.Tensor

    def init(self):
        return None

    def step(self, point, state):
        return (self.to if self.to.shape == point.x.shape else point.x), state


STORED = {"8 bits": Lossless(8), "16 bits": Lossless(16)} | {
    name: Lossy(Codec(format=name, quality=40), size_weight=weight) for name, weight in (("jpeg", 1e-4), ("webp", 0.0))
}
RANDOM_START = {"steps_lr": 1, "random_start": True, "norm": "l2", "epsilon_hr": 0.3, "epsilon_lr": 0.3}
MEASURED = [
    *(("8 bits", {"steps_lr": 2, **more}) for more in ({}, {"loss": "charbonnier"}, {"direction": "adversarial"})),
    *(("8 bits", {"steps_hr": 2, "round_hr": rounded}) for rounded in (True, False)),
    ("8 bits", {"steps_hr": 1, **RANDOM_START}),
    ("16 bits", {"steps_lr": 2}),
    ("16 bits", {"steps_hr": 1, "steps_lr": 1, "keep": "last"}),
    *((name, {stage: 2}) for name in ("jpeg", "webp") for stage in ("steps_hr", "steps_lr")),
]


@pytest.mark.parametrize(("name", "settings"), MEASURED, ids=str)
def test_metrics_are_those_of_the_files(photo, name, settings):
    """Whether the plain LR was measured by the descent's first evaluation, or at the end."""
    model, stored = make_tiny_irn(4), STORED[name]
    result = hcd.collaborate(photo, model, "plain", stored=stored, **settings)
    for lr, psnr in ((result.lr, result.psnr[0]), (result.plain_lr, result.plain_psnr[0])):
        assert psnr == pytest.approx(restored_psnr(stored.decode(lr), photo, model, stored.levels), abs=1e-4)
    if settings.get("loss") is None and settings.get("direction") is None:
        assert result.psnr[0] >= result.plain_psnr[0]


def test_the_plain_lr_is_restored_once(photo):
    """By the first evaluation of the LR stage, if that starts there."""
    model = make_tiny_irn(4)
    objective = Reconstruction(hr=photo, model=model)
    plain = Sample(hr=photo, lr=hcd.quantize(model.downscale(photo)))
    choice = Choice(objective=objective, stored=Lossless(8), plain=plain, radius=math.inf, never_worse=True)
    assert not choice.needs_plain(plain.lr + 1)
    assert choice.needs_plain(plain.lr)
    measured = choice.plain_was_measured(objective.of_file(plain.lr))
    assert not choice.needs_plain(plain.lr)
    assert choice.plain is measured
    assert choice.measure(plain).psnr == measured.psnr == pytest.approx(restored_psnr(plain.lr, photo, model))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("steps", [{"steps_lr": 5}, {"steps_hr": 3, "steps_lr": 0}], ids=["lr", "hr"])
def test_never_worse_by_any_loss(photo, name, steps):
    model = make_tiny_irn(4)
    result = hcd.collaborate(photo, model, "fast", loss=name, **steps)
    files = [restored(lr, photo, model).double() for lr in (result.lr, result.plain_lr)]
    for _, term in LOSSES[name].terms:
        solved, plain = (float(term.total(file, photo.double())) for file in files)
        assert solved <= plain
    plain = float(LOSSES[name].total(files[1], photo.double()))
    # The first evaluation is of the plain LR before the restored image is rounded and clamped.
    assert result.history[0].loss == pytest.approx(plain / photo[0, 0].numel(), rel=0.03)


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


class TestRoundWithin:
    @given(
        seed=st.integers(0, 99),
        spread=st.sampled_from([0.001, 0.01, 0.2]),
        radius=st.sampled_from([0.0, 0.2 * LEVEL, 0.9 * LEVEL, 0.0126, math.inf]),
    )
    def test_whole_levels_within_the_radius(self, seed, spread, radius):
        anchor = hcd.quantize(torch.rand((1, 3, 5, 6), generator=torch.Generator().manual_seed(seed)))
        file = round_within(anchor + noise(anchor.shape, seed + 1, spread), anchor, radius)
        assert torch.equal(hcd.quantize(file), file)
        assert rms(file.double() - anchor.double()) <= radius

    def test_what_is_near_enough_is_just_rounded(self):
        anchor = hcd.quantize(torch.rand((1, 3, 5, 6), generator=torch.Generator().manual_seed(0)))
        x = anchor + noise(anchor.shape, 1, 0.01)
        assert torch.equal(round_within(x, anchor, 0.02), hcd.quantize(x))

    def test_comes_close_to_the_radius(self):
        anchor = torch.full((1, 3, 20, 20), 128 / 255)
        file = round_within(anchor + noise(anchor.shape, 1, 0.1), anchor, 0.03)
        assert 0.028 < rms(file - anchor) <= 0.03

    def test_never_leaves_the_bounds_on_the_way(self):
        """Samples between bounds in whole levels stay between them."""
        anchor = hcd.quantize(torch.rand((1, 3, 9, 9), generator=torch.Generator().manual_seed(0)))
        low, high = (anchor - 2 * LEVEL).clamp(min=0), (anchor + 2 * LEVEL).clamp(max=1)
        x = (anchor + noise(anchor.shape, 1, 0.1)).maximum(low).minimum(high)
        change = ((round_within(x, anchor, LEVEL) - anchor) / LEVEL).round().abs()
        assert 1 <= float(change.max()) <= 2

    def test_sixteen_bits(self):
        anchor = hcd.quantize(torch.rand((1, 3, 5, 6), generator=torch.Generator().manual_seed(0)), 65535)
        file = round_within(anchor + noise(anchor.shape, 1, 0.01), anchor, 0.005, 65535)
        assert torch.equal(hcd.quantize(file, 65535), file)
        assert 0.0048 < rms(file - anchor) <= 0.005

    def test_nan_ends(self):
        anchor = torch.full((1, 3, 2, 2), 0.2)
        assert round_within(anchor * math.nan, anchor, 0.01).isnan().all()

    def test_exactly_at_the_limit_counts_as_the_metric_counts(self):
        """One level everywhere, at the PSNR that this is."""
        anchor = hcd.quantize(torch.rand((1, 3, 30, 30), generator=torch.Generator().manual_seed(3)) * 0.9)
        moved = hcd.quantize(anchor + LEVEL)
        limit = hcd.psnr(moved, anchor, channel="rgb")
        for stricter in (0.0, 1e-9, 1e-7, 1e-5):
            file = round_within(moved, anchor, 10 ** (-(limit + stricter) / 20))
            assert hcd.psnr(file, anchor, channel="rgb") >= limit + stricter
