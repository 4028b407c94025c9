"""Tiled and whole agree, for every kind of rescaler, in both directions and their gradients."""

from __future__ import annotations

import pytest
import skimage.data
import torch
from torch import nn
from torch.nn import functional as F

import hcd
from hcd.errors import UsageError
from hcd.rescaler import FixedKernelRescaler, GrayRescaler, SizeRequirement, TiledRescaler, receptive_field_of
from tests.conftest import make_tiny_irn
from tests.golden import picture
from tests.nets.hcflow_samples import make_tiny_hcflow
from tests.tiny_grain import make_tiny_grain

QUARTER_LEVEL = 0.25 / 255


class Sharpened(nn.Module):
    """Repeats pixels and adds what a convolution of random weights makes of them."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(0.1 * torch.randn(12, 3, 5, 5, generator=generator))

    def forward(self, lr):
        details = F.pixel_shuffle(torch.tanh(F.conv2d(lr, self.weight, padding=2)), 2)
        return lr.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) + 0.2 * details


def make_fixed_kernel():
    return FixedKernelRescaler(Sharpened(), 2, name="sharpened-x2", size=SizeRequirement(minimum=6)).freeze()


MAKERS = {
    "irn-x2": lambda: make_tiny_irn(2),
    "irn-x2-gaussian": lambda: make_tiny_irn(2, latent="gaussian:0"),
    "irn-x4": lambda: make_tiny_irn(4),
    "irn-x4-gaussian": lambda: make_tiny_irn(4, latent="gaussian:0"),
    "hcflow-x4": make_tiny_hcflow,
    "hcflow-x4-gaussian": lambda: make_tiny_hcflow(latent="gaussian:0"),
    "bicubic-x2": lambda: hcd.load("bicubic-x2"),
    "fixed-kernel": make_fixed_kernel,
    "gray": lambda: GrayRescaler(make_tiny_irn(2, latent="gaussian:0")).freeze(),
}


@pytest.fixture(scope="module", params=MAKERS)
def model(request):
    return MAKERS[request.param]()


def tiled_of(model, *, core=6):
    halo = receptive_field_of(model)
    return TiledRescaler(model, window=2 * halo + core, halo=halo)


def photo_of(model, *, rows=22, columns=26):
    """A photograph whose LR picture has so many pixels; its own sides are no multiples of the scale."""
    height, width = rows * model.scale - 1, columns * model.scale - (model.scale > 2)
    return picture(skimage.data.astronaut()[60 : 60 + height, 180 : 180 + width])


def gradient_of(y, x):
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    return torch.autograd.grad((y * weights).sum(), x)[0]


def assert_gradients_agree(tiled, whole):
    """Within half a percent of their length: where an activation is at its kink, a trace of a change is enough for
    one pixel's gradient to jump.
    """
    assert whole.norm() > 0
    assert relative_difference(tiled, whole) < 0.005


def relative_difference(tiled, whole):
    return float((tiled - whole).norm() / whole.norm())


def test_downscaling_is_that_of_the_whole(model):
    tiled, hr = tiled_of(model), photo_of(model).requires_grad_()
    assert len(tiled.tiles(22, 26)) > 4
    lr, wanted = tiled.downscale(hr), model.downscale(hr)
    assert lr.shape == (1, 3, 22, 26)
    torch.testing.assert_close(lr, wanted, rtol=0, atol=QUARTER_LEVEL)
    assert_gradients_agree(gradient_of(lr, hr), gradient_of(wanted, hr))


def test_upscaling_is_that_of_the_whole(model):
    tiled, lr = tiled_of(model), model.downscale(photo_of(model)).detach().requires_grad_()
    hr, wanted = tiled.upscale(lr), model.upscale(lr)
    torch.testing.assert_close(hr, wanted, rtol=0, atol=QUARTER_LEVEL)
    assert_gradients_agree(gradient_of(hr, lr), gradient_of(wanted, lr))


def test_a_sum_over_tiles_is_that_over_the_whole(model):
    tiled, hr = tiled_of(model), photo_of(model, rows=21)
    lr = model.downscale(hr).detach().requires_grad_()
    padded = torch.zeros_like(model.upscale(lr))
    padded[..., : hr.shape[-2], : hr.shape[-1]] = hr

    def error(hr_hat, tile):
        original = padded[(..., *tile.core(model.scale))]
        assert hr_hat.shape == original.shape
        return (hr_hat - original).square().sum()

    value, wanted = tiled.sum_over(error, lr), (model.upscale(lr) - padded).square().sum()
    torch.testing.assert_close(value, wanted, rtol=1e-3, atol=0)
    assert_gradients_agree(torch.autograd.grad(value, lr)[0], torch.autograd.grad(wanted, lr)[0])
    # The same function on a model that is not cut gets the whole picture as its one tile.
    assert len(model.tiles(*lr.shape[-2:])) == 1
    torch.testing.assert_close(model.sum_over(error, lr), wanted, rtol=0, atol=0)


def test_without_a_halo_there_are_seams():
    model = make_tiny_irn(2)
    tiled, hr = TiledRescaler(model, window=6, halo=0), photo_of(model).requires_grad_()
    lr, wanted = tiled.downscale(hr), model.downscale(hr)
    assert (lr - wanted).abs().max() > QUARTER_LEVEL
    assert relative_difference(gradient_of(lr, hr), gradient_of(wanted, hr)) > 0.01
    lr = wanted.detach().requires_grad_()
    restored, wanted = tiled.upscale(lr), model.upscale(lr)
    assert (restored - wanted).abs().max() > QUARTER_LEVEL
    assert relative_difference(gradient_of(restored, lr), gradient_of(wanted, lr)) > 0.01


def test_pictures_of_a_batch():
    model = make_tiny_irn(2)
    hr = torch.cat([photo_of(model), photo_of(model).flip(-1)])
    torch.testing.assert_close(tiled_of(model).downscale(hr), model.downscale(hr), rtol=0, atol=QUARTER_LEVEL)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 3)])
def test_pictures_smaller_than_a_window(size):
    model = make_tiny_irn(2)
    hr = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    tiled, lr = tiled_of(model), model.downscale(hr)
    torch.testing.assert_close(tiled.downscale(hr), lr, rtol=0, atol=QUARTER_LEVEL)
    torch.testing.assert_close(tiled.upscale(lr), model.upscale(lr), rtol=0, atol=QUARTER_LEVEL)


@pytest.mark.slow
def test_the_shipped_model_on_a_photograph():
    """No seams: no pixel of a file differs by more than one level, and quality does not."""
    model = hcd.load("irn-x4-small")
    hr = picture(skimage.data.coffee()[150:278, 200:328])
    tiled = tiled_of(model, core=8)
    assert len(tiled.tiles(32, 32)) == 16
    with torch.no_grad():
        lr, tiled_lr = (hcd.quantize(rescaler.downscale(hr)) for rescaler in (model, tiled))
        restored, tiled_restored = (hcd.quantize(rescaler.upscale(lr)) for rescaler in (model, tiled))
    for got, wanted in ((tiled_lr, lr), (tiled_restored, restored)):
        assert ((got - wanted) * 255).round().abs().max() <= 1
    assert abs(hcd.psnr(tiled_restored, hr, channel="rgb") - hcd.psnr(restored, hr, channel="rgb")) < 0.01


def test_every_tile_is_announced():
    model = make_tiny_irn(2)
    calls = []
    tiled = TiledRescaler(model, window=12, halo=4, before_tile=lambda: calls.append(None))
    lr = tiled.downscale(torch.rand(1, 3, 32, 24))
    tiles = len(tiled.tiles(16, 12))
    assert len(calls) == tiles == 4
    tiled.upscale(lr)
    assert len(calls) == 2 * tiles


def test_it_stands_for_the_wrapped_model():
    model = make_tiny_irn(4, latent="gaussian:3")
    tiled = tiled_of(model)
    assert (tiled.name, tiled.scale, tiled.weights_hash, tiled.latent, tiled.hr_size) == (
        *(model.name, model.scale, model.weights_hash, "gaussian:3"),
        None,
    )


def test_a_model_of_one_size_is_refused():
    with pytest.raises(UsageError, match="'tiny-grain-x4' takes pictures of one size alone"):
        TiledRescaler(make_tiny_grain(), window=20, halo=4)


@pytest.mark.parametrize("window", [0, 7, 8])
def test_a_window_without_a_core_is_refused(window):
    with pytest.raises(UsageError, match=rf"window {window}: must be above twice the halo of 4"):
        TiledRescaler(make_tiny_irn(2), window=window, halo=4)
    TiledRescaler(make_tiny_irn(2), window=9, halo=4)
