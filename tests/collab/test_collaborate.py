"""The promises of ``collaborate``: never worse, inside the bounds, deterministic, recorded."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hcd
from hcd.collab import LOSSES
from hcd.errors import ShapeError, UsageError
from hcd.ops import ball_norm
from hcd.solver import LBFGS, NormalizedGradient
from tests.conftest import make_smooth_picture, make_tiny_irn

GRAY_LEVEL = 1 / 255
PRESETS = ("fast", "balanced", "best")


def checkerboard(height, width):
    return ((torch.arange(height)[:, None] + torch.arange(width)) % 2).float().expand(1, 3, -1, -1)


PICTURES = {
    "smooth": make_smooth_picture(24, 32),
    "odd size": make_smooth_picture(17, 23),
    "smaller than the scale": make_smooth_picture(3, 2),
    "one row": make_smooth_picture(1, 13),
    "one pixel": torch.tensor([0.2, 0.9, 0.4]).reshape(1, 3, 1, 1),
    "black": torch.zeros(1, 3, 8, 12),
    "white": torch.ones(1, 3, 8, 12),
    "gray": torch.full((1, 3, 12, 8), 0.5),
    "checkerboard": checkerboard(16, 16),
    "noise": torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
}
pictures = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


@pytest.fixture(scope="module", params=["tiny-irn-x2", "tiny-irn-x4", "tiny-irn-x4-gaussian", "bicubic-x4"])
def model(request):
    if request.param.startswith("bicubic"):
        return hcd.load(request.param)
    latent = "gaussian:0" if "gaussian" in request.param else "zeros"
    return make_tiny_irn(int(request.param[10]), latent=latent)


def restored_psnr(lr, hr, model):
    """PSNR of what the receiver's 8-bit picture shows."""
    restored = hcd.quantize(model.upscale(lr))[..., : hr.shape[-2], : hr.shape[-1]]
    return hcd.psnr(restored, hr, channel="rgb")


def gray_levels(image):
    """Integer samples of a picture that is a file's: fails where a value is none of the 256."""
    levels = (image * 255).round()
    assert torch.equal(levels / 255, image)
    assert float(levels.min()) >= 0
    assert float(levels.max()) <= 255
    return levels


@pytest.mark.parametrize("preset", PRESETS)
@pictures
def test_never_worse_than_plain(model, picture, preset):
    result = hcd.collaborate(picture, model, preset=preset)
    plain = hcd.quantize(model.downscale(picture))
    assert torch.equal(result.plain_lr, plain)
    assert result.lr.shape == plain.shape
    gray_levels(result.lr)
    assert result.psnr == (restored_psnr(result.lr, picture, model),)
    assert result.plain_psnr == (restored_psnr(plain, picture, model),)
    assert result.psnr[0] >= result.plain_psnr[0]
    if result.kept_plain[0]:
        assert torch.equal(result.lr, plain)


@settings(max_examples=15)
@given(
    height=st.integers(1, 11),
    width=st.integers(1, 11),
    seed=st.integers(0, 99),
    steps=st.integers(0, 4),
    stage=st.sampled_from(["steps_hr", "steps_lr"]),
)
def test_never_worse_at_any_size(height, width, seed, steps, stage):
    hr = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    model = make_tiny_irn(4)
    result = hcd.collaborate(hr, model, preset="fast", **{stage: steps})
    gray_levels(result.lr)
    assert restored_psnr(result.lr, hr, model) >= restored_psnr(result.plain_lr, hr, model)


@pytest.mark.parametrize("scale", [2, 4])
def test_balanced_improves_on_a_photograph(photo, scale):
    model = make_tiny_irn(scale)
    gains = {}
    for preset in ("paper", *PRESETS):
        result = hcd.collaborate(photo, model, preset=preset)
        gains[preset] = restored_psnr(result.lr, photo, model) - restored_psnr(result.plain_lr, photo, model)
        assert not result.kept_plain[0]
    assert gains["balanced"] > 0.2
    assert gains["paper"] > 0.2
    # More steps of the same descent: the rounding at the end is all that could speak against it.
    assert gains["fast"] < gains["balanced"] + 0.02
    assert gains["balanced"] < gains["best"] + 0.02


@pytest.mark.parametrize("steps", [{"steps_lr": 5}, {"steps_lr": 0, "steps_hr": 5}, {"steps_hr": 3, "steps_lr": 3}])
def test_every_stage_improves_on_a_photograph(photo, steps):
    result = hcd.collaborate(photo, make_tiny_irn(4), preset="fast", **steps)
    assert result.psnr[0] > result.plain_psnr[0] + 0.05
    assert result.grad_evals == sum(steps.values())


@pytest.mark.parametrize("rule", [LBFGS(), NormalizedGradient(step_size=0.1)], ids=["lbfgs", "normalized"])
def test_adversarial_is_worse_than_plain(photo, rule):
    result = hcd.collaborate(photo, make_tiny_irn(4), direction="adversarial", rule=rule, loss="rgb")
    assert result.psnr[0] < result.plain_psnr[0] - 0.2
    assert result.kept_plain == (False,)
    assert all(entry.loss < 0 for entry in result.history)
    assert all(entry.psnr == pytest.approx(-10 * math.log10(-entry.loss)) for entry in result.history)


def test_plain_is_the_rounded_downscaling(model, photo):
    result = hcd.collaborate(photo, model, preset="plain")
    assert torch.equal(result.lr, hcd.quantize(model.downscale(photo)))
    assert torch.equal(result.collaborative_hr, photo)
    assert result.history == ()
    assert result.psnr == result.plain_psnr == (None,)


class TestBounds:
    @pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
    @pytest.mark.parametrize("rule", [LBFGS(), NormalizedGradient(step_size=0.5)], ids=["lbfgs", "normalized"])
    def test_perturbations_stay_in_their_balls(self, photo, norm, rule):
        radius = {"l1": 5.0, "l2": 0.3, "linf": 2 * GRAY_LEVEL}[norm]
        result = hcd.collaborate(
            photo,
            make_tiny_irn(4),
            steps_hr=4,
            steps_lr=4,
            rule=rule,
            norm=norm,
            epsilon_hr=radius,
            epsilon_lr=radius / 2,
        )
        assert 0 < ball_norm(result.collaborative_hr - photo, norm) <= radius * (1 + 1e-5)
        assert 0 < ball_norm(result.collaborative_lr - result.lr_start, norm) <= radius / 2 * (1 + 1e-5)
        for sample in (result.collaborative_hr, result.collaborative_lr):
            assert float(sample.min()) >= 0
            assert float(sample.max()) <= 1

    def test_radius_zero_is_plain(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(2), steps_hr=2, epsilon_hr=0.0, epsilon_lr=0.0)
        assert torch.equal(result.lr, result.plain_lr)
        assert torch.equal(result.collaborative_hr, photo)

    def test_the_presets_bound_is_eight_gray_levels(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), preset="best", rule=LBFGS(first_step=0.5, max_step=0.5))
        assert float((gray_levels(result.lr) - gray_levels(result.plain_lr)).abs().max()) <= 8

    @pytest.mark.parametrize("max_change", [0, 1, 3])
    @pytest.mark.parametrize("steps_hr", [0, 4])
    @pytest.mark.parametrize("direction", ["collaborative", "adversarial"])
    def test_max_change_bounds_the_file(self, photo, max_change, steps_hr, direction):
        result = hcd.collaborate(
            photo,
            make_tiny_irn(4),
            max_change=max_change,
            steps_hr=steps_hr,
            rule=LBFGS(first_step=0.1, max_step=0.1),
            direction=direction,
        )
        change = (gray_levels(result.lr) - gray_levels(result.plain_lr)).abs()
        assert float(change.max()) <= max_change
        if not result.kept_plain[0] and max_change:
            assert float(change.max()) == max_change

    def test_max_change_also_bounds_the_hr_stage_by_itself(self, photo):
        options = {"preset": "plain", "steps_hr": 6, "epsilon_hr": 0.2, "never_worse": False}
        free = hcd.collaborate(photo, make_tiny_irn(4), rule=LBFGS(first_step=0.2, max_step=0.2), **options)
        assert float((free.lr - free.plain_lr).abs().max()) > 1.5 * GRAY_LEVEL
        held = hcd.collaborate(
            photo, make_tiny_irn(4), rule=LBFGS(first_step=0.2, max_step=0.2), max_change=1, **options
        )
        assert float((gray_levels(held.lr) - gray_levels(held.plain_lr)).abs().max()) == 1

    @pictures
    def test_saturated_pictures_stay_in_range(self, picture):
        result = hcd.collaborate(picture, make_tiny_irn(2), steps_hr=2, direction="adversarial")
        gray_levels(result.lr)


class TestStopping:
    def test_at_the_target(self, photo):
        model = make_tiny_irn(4)
        full = hcd.collaborate(photo, model, preset="best")
        # Halfway between where the loop starts and where it ends.
        target = (full.history[0].psnr + max(entry.psnr for entry in full.history)) / 2
        result = hcd.collaborate(photo, model, preset="best", target_psnr=target)
        assert 1 < result.grad_evals < full.grad_evals
        assert result.history[-1].psnr >= target
        assert all(entry.psnr < target for entry in result.history[:-1])

    def test_a_target_that_is_met_from_the_start_costs_one_evaluation_a_stage(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), steps_hr=5, target_psnr=1.0)
        assert [entry.stage for entry in result.history] == ["hr", "lr"]

    def test_after_the_time(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), preset="best", steps_lr=2000, max_seconds=0.1)
        assert result.grad_evals < 2000
        assert result.history[-1].seconds >= 0.1
        assert all(entry.seconds < 0.1 for entry in result.history[:-1])

    def test_no_time_at_all_still_gives_a_valid_file(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), max_seconds=0.0)
        assert result.grad_evals == 1
        assert result.psnr[0] >= result.plain_psnr[0]


class TestHistory:
    def test_one_entry_per_gradient(self, photo):
        result = hcd.collaborate(torch.cat([photo, photo.flip(-1)]), make_tiny_irn(4), steps_hr=3, steps_lr=2)
        entries = [(entry.picture, entry.stage, entry.step) for entry in result.history]
        one = [("hr", 1), ("hr", 2), ("hr", 3), ("lr", 1), ("lr", 2)]
        assert entries == [(picture, *entry) for picture in (0, 1) for entry in one]
        assert result.grad_evals == 10

    def test_seconds_only_grow(self, photo):
        result = hcd.collaborate(photo, make_tiny_irn(4), steps_hr=3)
        seconds = [0.0, *(entry.seconds for entry in result.history), result.seconds]
        assert all(before <= after for before, after in itertools.pairwise(seconds))
        assert seconds[-1] > 0

    def test_values_are_those_of_the_objective(self, photo):
        model = make_tiny_irn(4)
        first = hcd.collaborate(photo, model, steps_lr=1).history[0]
        restored = model.upscale(hcd.quantize(model.downscale(photo)))
        loss = LOSSES["rgb+y"].total(restored, photo) / photo[0, 0].numel()
        assert first.loss == pytest.approx(float(loss), rel=1e-5)
        assert first.psnr == pytest.approx(hcd.psnr(restored, photo, channel="rgb"), abs=1e-4)

    def test_the_callback_gets_the_same_entries_at_once(self, photo):
        seen = []
        result = hcd.collaborate(photo, make_tiny_irn(2), steps_hr=2, steps_lr=2, on_evaluation=seen.append)
        assert tuple(seen) == result.history

    def test_an_error_in_the_callback_comes_through(self, photo):
        def interrupt(entry):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            hcd.collaborate(photo, make_tiny_irn(2), on_evaluation=interrupt)


class TestDeterminism:
    @pytest.mark.parametrize("preset", ["paper", "balanced"])
    def test_same_input_same_bytes(self, model, photo, preset):
        first = hcd.collaborate(photo, model, preset=preset)
        again = hcd.collaborate(photo.clone(), model, preset=preset)
        assert torch.equal(first.lr, again.lr)
        assert torch.equal(first.collaborative_lr, again.collaborative_lr)
        assert [entry.loss for entry in first.history] == [entry.loss for entry in again.history]

    @pytest.mark.parametrize("preset", ["plain", "paper", "balanced"])
    def test_a_batch_is_its_pictures_one_by_one(self, photo, preset):
        model = make_tiny_irn(4)
        pair = torch.cat([photo[..., :30, :40], photo[..., 10:40, 20:60]])
        together = hcd.collaborate(pair, model, preset=preset)
        singles = [hcd.collaborate(one[None], model, preset=preset) for one in pair]
        for field in ("lr", "plain_lr", "collaborative_hr", "lr_start", "collaborative_lr"):
            assert torch.equal(getattr(together, field), torch.cat([getattr(one, field) for one in singles])), field
        for field in ("kept_plain", "psnr", "plain_psnr"):
            assert getattr(together, field) == getattr(singles[0], field) + getattr(singles[1], field)


class TestTouchesNothing:
    def test_the_input(self, photo):
        kept = photo.clone()
        result = hcd.collaborate(photo, make_tiny_irn(2), steps_hr=2)
        assert torch.equal(photo, kept)
        result.collaborative_hr.zero_()
        assert torch.equal(photo, kept)

    def test_the_model(self, photo):
        model = make_tiny_irn(2)
        model.requires_grad_(True)
        state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        hcd.collaborate(photo, model, steps_hr=2)
        assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())

    @pytest.mark.parametrize("preset", ["plain", "fast"])
    def test_no_graph_hangs_on_the_result(self, photo, preset):
        result = hcd.collaborate(photo.requires_grad_(), make_tiny_irn(2), preset=preset)
        for field in ("lr", "plain_lr", "collaborative_hr", "lr_start", "collaborative_lr"):
            assert not getattr(result, field).requires_grad, field

    def test_gradients_that_are_switched_off(self, photo):
        model = make_tiny_irn(2)
        wanted = hcd.collaborate(photo, model)
        with torch.no_grad():
            assert torch.equal(hcd.collaborate(photo, model).lr, wanted.lr)


class TestWrongInput:
    @pytest.mark.parametrize(
        "hr",
        [
            torch.zeros(3, 8, 8),
            torch.zeros(1, 1, 8, 8),
            torch.zeros(1, 3, 0, 8),
            torch.zeros(0, 3, 8, 8),
            torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        ],
        ids=["no batch", "gray", "no rows", "no pictures", "bytes"],
    )
    def test_shape_and_type(self, hr):
        with pytest.raises(ShapeError, match=r"collaborate: got torch\..* needs floating point \[N, 3, H, W\]"):
            hcd.collaborate(hr, hcd.load("bicubic-x2"))

    @pytest.mark.parametrize("value", [-0.001, 1.001, 255.0, math.nan, math.inf, -math.inf])
    def test_range(self, value):
        hr = torch.full((1, 3, 8, 8), 0.5)
        hr[0, 1, 2, 3] = value
        with pytest.raises(ShapeError, match=r"needs RGB in \[0, 1\]; divide by 255"):
            hcd.collaborate(hr, hcd.load("bicubic-x2"))

    def test_double_precision_is_a_clear_error_where_the_weights_are_single(self, photo):
        with pytest.raises(ShapeError, match="float64"):
            hcd.collaborate(photo.double(), make_tiny_irn(2))

    def test_an_unknown_preset_names_the_nearest(self, photo):
        with pytest.raises(UsageError, match=r"unknown preset 'balance'\. Did you mean 'balanced'"):
            hcd.collaborate(photo, hcd.load("bicubic-x2"), preset="balance")

    def test_an_unknown_setting_names_the_nearest(self, photo):
        with pytest.raises(UsageError, match=r"unknown setting 'step_lr'\. Did you mean 'steps_lr'"):
            hcd.collaborate(photo, hcd.load("bicubic-x2"), step_lr=3)


def test_works_in_inference_mode(photo):
    hr = photo[..., :16, :16]
    model = make_tiny_irn(2, latent="gaussian:0")
    wanted = hcd.collaborate(hr, model, "fast").lr
    with torch.inference_mode():
        assert torch.equal(hcd.collaborate(hr, model, "fast").lr, wanted)
