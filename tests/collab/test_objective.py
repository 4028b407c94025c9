"""The objective: values, gradients and products with its curvature, whole and in tiles."""

from __future__ import annotations

import math

import pytest
import torch

import hcd
from hcd.collab import LOSSES, EvaluationStats, Reconstruction, SquaredError, StructuralDissimilarity
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


def direction_like(x, seed=1):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


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
        meter = EvaluationStats(of_file=True)
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


class TestCurvature:
    def product(self, model, hr, x, direction, *, to_lr=lambda x: x, loss=None, sign=1):
        objective = Reconstruction(hr=hr, model=model, loss=loss or SquaredError(), sign=sign)
        return objective.curvature(to_lr, x, direction)

    @pytest.mark.parametrize("name", ["rgb", "y", "rgb+y", "charbonnier"])
    def test_is_the_dense_formula(self, model, hr, name):
        """``Jᵀ L″ J v`` with both matrices written out."""
        x, loss = model.downscale(hr), LOSSES[name]
        direction = direction_like(x)
        jacobian = torch.autograd.functional.jacobian(lambda x: model.upscale(x)[..., :7, :9], x)
        jacobian = jacobian.reshape(hr.numel(), x.numel())
        restored = model.upscale(x)[..., :7, :9].contiguous()
        hessian = torch.autograd.functional.hessian(lambda ends: loss.total(ends, hr) / 63, restored)
        hessian = hessian.reshape(hr.numel(), hr.numel())
        wanted = jacobian.T @ (hessian @ (jacobian @ direction.flatten()))
        product = self.product(model, hr, x, direction, loss=loss)
        torch.testing.assert_close(product.flatten(), wanted, rtol=1e-8, atol=1e-12)

    @pytest.mark.parametrize("loss", [SquaredError(), StructuralDissimilarity()], ids=["rgb", "ssim"])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_of_a_linear_model_is_the_change_of_the_gradient(self, hr, loss, sign):
        """By central differences of gradients, in either direction of the method."""
        model = hcd.load("bicubic-x2")
        x = model.downscale(hr)
        direction = direction_like(x)
        objective = Reconstruction(hr=hr, model=model, loss=loss, sign=sign)
        ends = [gradient_at(objective, x + step * direction) for step in (1e-5, -1e-5)]
        product = self.product(model, hr, x, direction, loss=loss, sign=sign)
        torch.testing.assert_close(product, (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-9)

    def test_is_symmetric_and_not_negative(self, model, hr):
        x = model.downscale(hr)
        u, v = direction_like(x, 1), direction_like(x, 2)
        along_u, along_v = (self.product(model, hr, x, direction) for direction in (u, v))
        assert float((v * along_u).sum()) == pytest.approx(float((u * along_v).sum()))
        assert float((u * along_u).sum()) > 0

    def test_through_the_downscaling(self, model, hr):
        """As in the stage that moves the HR sample: the derivative of the whole way."""
        direction = direction_like(hr)
        product = self.product(model, hr, hr, direction, to_lr=model.downscale)
        lr = model.downscale(hr)
        moved = (model.downscale(hr + 1e-5 * direction) - model.downscale(hr - 1e-5 * direction)) / 2e-5
        inner = self.product(model, hr, lr, moved)
        _, wanted = torch.autograd.functional.vjp(model.downscale, hr, inner)
        torch.testing.assert_close(product, wanted, rtol=1e-5, atol=1e-9)

    def test_rounding_passes_directions_as_it_passes_gradients(self, model, hr):
        x = hcd.quantize(model.downscale(hr))
        direction = direction_like(x)
        torch.testing.assert_close(
            self.product(model, hr, x, direction, to_lr=hcd.quantize), self.product(model, hr, x, direction)
        )

    def test_in_tiles(self, model):
        hr = make_smooth_picture(37, 41).double()
        x = model.downscale(hr)
        direction = direction_like(x)
        whole, pieces = (self.product(each, hr, x, direction) for each in (model, tiled(model)))
        assert len(tiled(model).tiles(*x.shape[-2:])) > 1
        # The inner product is one of central differences, and a halo leaves out what lies beyond it.
        assert float((pieces - whole).abs().max()) < 0.01 * float(whole.abs().max())

    def test_of_no_direction(self, model, hr):
        x = model.downscale(hr)
        for each in (model, tiled(model)):
            assert not self.product(each, hr, x, torch.zeros_like(x)).any()

    def test_leaves_no_graph(self, model, hr):
        x = model.downscale(hr)
        with torch.no_grad():
            assert not self.product(model, hr, x, direction_like(x)).requires_grad
