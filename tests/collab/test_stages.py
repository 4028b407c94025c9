"""Stages: their order, what each starts from, and what it minimizes."""

from __future__ import annotations

import math

import pytest
import torch

import hcd
from hcd.collab import LOSSES
from tests.conftest import make_smooth_picture, make_tiny_irn


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


def seen_psnr(lr, hr, model):
    """What the loop has of an LR picture: nothing is rounded."""
    return hcd.psnr(model.upscale(lr)[..., : hr.shape[-2], : hr.shape[-1]], hr, channel="rgb")


def test_the_lr_stage_starts_from_what_the_hr_sample_becomes(hr, model):
    result = hcd.collaborate(hr, model, "plain", steps_hr=3, steps_lr=1, epsilon_hr=0.05)
    assert [(entry.stage, entry.step) for entry in result.history] == [("hr", 1), ("hr", 2), ("hr", 3), ("lr", 1)]
    assert not torch.equal(result.collaborative_hr, hr)
    assert torch.equal(result.lr_start, hcd.quantize(model.downscale(result.collaborative_hr)))
    assert result.history[3].psnr == pytest.approx(seen_psnr(result.lr_start, hr, model), abs=1e-4)


@pytest.mark.parametrize("round_hr", [True, False])
def test_the_hr_stage_starts_from_the_original(hr, model, round_hr):
    result = hcd.collaborate(hr, model, "plain", steps_hr=1, round_hr=round_hr)
    lr = model.downscale(hr)
    wanted = seen_psnr(hcd.quantize(lr) if round_hr else lr, hr, model)
    assert result.history[0].psnr == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("name", ["y", "charbonnier"])
def test_each_loss_is_minimized_better_than_by_another(photo, name):
    """Measured as the stage sees it: rounding and clamping come after it and can turn a small difference around."""
    model = make_tiny_irn(4)
    own, other = (
        hcd.collaborate(photo, model, "balanced", loss=loss, min_lr_psnr=0.0).collaborative_lr for loss in (name, "rgb")
    )
    seen = [float(LOSSES[name].total(model.upscale(lr)[..., :28, :36], photo)) for lr in (own, other)]
    assert seen[0] < 0.998 * seen[1]


@pytest.mark.parametrize("stage", ["hr", "lr"])
def test_flat_pictures_survive_every_stage(stage):
    for value in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 6, 8), value)
        result = hcd.collaborate(flat, hcd.load("bicubic-x2"), "plain", **{f"steps_{stage}": 3})
        assert result.psnr[0] >= result.plain_psnr[0]
        assert math.isfinite(result.history[0].loss)
