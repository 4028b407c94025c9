"""The objective: values and gradients, end to end and in tiles."""

from __future__ import annotations

import math

import pytest
import torch

import hcd
from hcd.collab import LOSSES, EvaluationStats, Reconstruction
from hcd.rescaler import GrayRescaler, TiledRescaler
from tests.conftest import make_smooth_picture, make_tiny_irn

MODELS = {
    "irn": lambda: make_tiny_irn(2).double(),
    "gray": lambda: GrayRescaler(make_tiny_irn(2).double()),
    "bicubic": lambda: hcd.load("bicubic-x2"),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture
def hr():
    """Of sides that are no multiples of the scale."""
    return make_smooth_picture(7, 9).double()


def tiled(model):
    return TiledRescaler(model, window=14, halo=4)


def gradient_at(objective, x):
    variable = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.from_lr(variable), variable)
    return gradient


class TestValues:
    @pytest.mark.parametrize("name", LOSSES)
    def test_the_loss_per_pixel_inside_the_frame(self, model, hr, name):
        lr = hcd.quantize(model.downscale(hr))
        restored = model.upscale(lr)[..., :7, :9]
        for sign in (1, -1):
            value = Reconstruction(hr=hr, model=model, loss=LOSSES[name], sign=sign).from_lr(lr)
            assert float(value) == pytest.approx(sign * float(LOSSES[name].total(restored, hr)) / 63)

    def test_the_meter_reads_both_pictures(self, model, hr):
        lr = hcd.quantize(model.downscale(hr))
        objective = Reconstruction(hr=hr, model=model, loss=LOSSES["y"])
        meter = EvaluationStats(levels=255)
        objective.from_lr(lr, meter)
        restored = model.upscale(lr)[..., :7, :9]
        assert objective.psnr(meter.squares) == pytest.approx(hcd.psnr(restored, hr, channel="rgb"))
        file = hcd.quantize(restored)
        assert objective.psnr(meter.file_squares) == pytest.approx(hcd.psnr(file, hr, channel="rgb"))
        assert meter.file_loss == pytest.approx(float(LOSSES["y"].total(file, hr)))
        assert meter.file_terms == (meter.file_loss,)
        assert objective.of_file(lr) == meter

    def test_the_meter_reads_every_term(self, model):
        hr = make_smooth_picture(37, 41).double()
        lr = hcd.quantize(model.downscale(hr))
        whole = Reconstruction(hr=hr, model=model, loss=LOSSES["rgb+y"]).of_file(lr)
        parts = Reconstruction(hr=hr, model=tiled(model), loss=LOSSES["rgb+y"]).of_file(lr)
        alone = [Reconstruction(hr=hr, model=model, loss=LOSSES[name]).of_file(lr).file_loss for name in ("rgb", "y")]
        assert whole.file_terms == pytest.approx(alone)
        assert whole.file_loss == pytest.approx(sum(alone) / 2)
        assert parts.file_terms == pytest.approx(alone, rel=0.01)

    def test_tiles_agree(self, model):
        hr = make_smooth_picture(37, 41).double()
        lr = hcd.quantize(model.downscale(hr))
        whole, pieces = (Reconstruction(hr=hr, model=each) for each in (model, tiled(model)))
        assert float(pieces.from_lr(lr)) == pytest.approx(float(whole.from_lr(lr)), rel=1e-3)
        gradients = [gradient_at(each, lr) for each in (whole, pieces)]
        assert float((gradients[1] - gradients[0]).abs().max()) < 0.05 * float(gradients[0].abs().max())
        assert pieces.of_file(lr).file_squares == pytest.approx(whole.of_file(lr).file_squares, rel=1e-3)

    def test_psnr_without_error_and_without_numbers(self, hr):
        objective = Reconstruction(hr=hr, model=hcd.load("bicubic-x2"))
        assert objective.psnr(0.0) == math.inf
        assert math.isnan(objective.psnr(math.nan))
