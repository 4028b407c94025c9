"""The promises of ``collaborate``: never worse, inside the bounds, deterministic, recorded."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hcd
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


@pytest.fixture
def model(request):
    """The tiny IRN ×4 with a random latent if a test asks for no other."""
    name = getattr(request, "param", "tiny-irn-x4-gaussian")
    if name.startswith("bicubic"):
        return hcd.load(name)
    return make_tiny_irn(int(name[10]), latent="gaussian:0" if "gaussian" in name else "zeros")


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


# Every odd picture with one model; every model and preset with one picture.
CASES = [
    *((name, "tiny-irn-x4", "balanced") for name in PICTURES),
    *(
        ("odd size", model, preset)
        for model, preset in zip(("tiny-irn-x2", "tiny-irn-x4-gaussian"), PRESETS[::2], strict=True)
    ),
    *((name, "bicubic-x4", "fast") for name in ("one pixel", "checkerboard")),
]


@pytest.mark.parametrize(("name", "model", "preset"), CASES, indirect=["model"])
def test_never_worse_than_plain(name, model, preset):
    picture = PICTURES[name]
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


@pytest.mark.slow
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
    @pytest.mark.parametrize(
        ("norm", "rule"),
        [("l1", LBFGS()), ("l2", LBFGS()), ("linf", LBFGS()), ("l2", NormalizedGradient(step_size=0.5))],
        ids=["l1", "l2", "linf", "l2 normalized"],
    )
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

    @pytest.mark.parametrize(
        ("max_change", "steps_hr", "direction"),
        [(0, 0, "collaborative"), (1, 4, "collaborative"), (3, 0, "collaborative"), (1, 0, "adversarial")],
    )
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

    @pytest.mark.parametrize("name", ["black", "white", "checkerboard", "noise"])
    def test_saturated_pictures_stay_in_range(self, name):
        result = hcd.collaborate(PICTURES[name], make_tiny_irn(2), steps_hr=2, direction="adversarial")
        gray_levels(result.lr)


@pytest.mark.slow
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
