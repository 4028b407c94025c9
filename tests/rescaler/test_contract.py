"""The contract that every rescaler keeps, run on each one there is."""

from __future__ import annotations

import copy
import functools
import math
import statistics

import pytest
import torch

import hcd
from hcd.errors import ShapeError
from hcd.rescaler import GrayRescaler
from hcd.zoo import model_entries
from tests.conftest import make_smooth_picture, make_tiny_irn

SHIPPED = [entry.name for entry in model_entries() if entry.weights_file is not None]
MAKERS = {
    **{
        f"tiny-irn-x{scale}-{latent}": functools.partial(make_tiny_irn, scale, latent=latent)
        for scale in (2, 4)
        for latent in ("zeros", "gaussian:0")
    },
    **{name: functools.partial(hcd.load, name) for name in ("bicubic-x2", "bicubic-x4", *SHIPPED)},
    "gray-bicubic-x2": lambda: GrayRescaler(hcd.load("bicubic-x2")).freeze(),
}
SIZES = [(16, 24), (8, 8), (17, 23), (9, 16), (3, 5), (1, 7), (1, 1)]
sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@pytest.fixture(scope="module", params=MAKERS)
def model(request):
    return MAKERS[request.param]()


def lr_size(size, scale):
    return tuple(math.ceil(side / scale) for side in size)


def random_picture(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@sizes
def test_shapes(model, size):
    hr = random_picture(2, 3, *size)
    lr = model.downscale(hr)
    assert lr.shape == (2, 3, *lr_size(size, model.scale))
    assert lr.dtype == hr.dtype
    restored = model.upscale(lr)
    assert restored.shape == (2, 3, *(side * model.scale for side in lr.shape[-2:]))
    assert torch.isfinite(restored).all()


@sizes
def test_deterministic(model, size):
    hr = random_picture(1, 3, *size)
    torch.manual_seed(1)
    lr = model.downscale(hr)
    restored = model.upscale(lr)
    torch.manual_seed(2)
    assert torch.equal(model.downscale(hr.clone()), lr)
    assert torch.equal(model.upscale(lr.clone()), restored)


def test_the_input_is_left_alone(model):
    hr = random_picture(1, 3, 9, 10)
    kept = hr.clone()
    model.upscale(model.downscale(hr))
    assert torch.equal(hr, kept)


@pytest.mark.parametrize("size", [(16, 24), (9, 7)])
def test_pictures_of_a_batch_do_not_mix(model, size):
    hr = random_picture(3, 3, *size)
    lr = model.downscale(hr)
    restored = model.upscale(lr)
    for index in range(3):
        one = slice(index, index + 1)
        # Another batch size may choose another algorithm of convolution, hence no equality to the bit.
        torch.testing.assert_close(model.downscale(hr[one]), lr[one], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.upscale(lr[one]), restored[one], rtol=1e-5, atol=1e-5)


def test_memory_layout_does_not_matter(model):
    hr = random_picture(1, 3, 16, 24)
    channels_last = hr.contiguous(memory_format=torch.channels_last)
    strided = random_picture(1, 3, 32, 24).copy_(hr.repeat_interleave(2, dim=2))[:, :, ::2]
    wanted = model.downscale(hr)
    for same in (channels_last, strided):
        torch.testing.assert_close(model.downscale(same), wanted, rtol=1e-5, atol=1e-5)


def test_pictures_stay_pictures(model):
    hr = make_smooth_picture(40, 48)
    if isinstance(model, GrayRescaler):
        hr = hr.mean(dim=1, keepdim=True).expand_as(hr)
    lr = model.downscale(hr)
    # A gray picture would reach 17 dB: these are no pictures of something else, nor mirrored or shifted.
    assert hcd.psnr(lr, torch.nn.functional.avg_pool2d(hr, model.scale), channel="rgb") > 22
    # An untrained network does not subdue noise that it is given as details.
    if model.latent == "zeros" or not model.name.startswith("tiny-irn"):
        assert hcd.psnr(model.upscale(hcd.quantize(lr)), hr, channel="rgb") > 22


@pytest.mark.parametrize("operation", ["downscale", "upscale"])
@pytest.mark.parametrize("size", [(8, 12), (5, 6)])
def test_gradient_against_finite_differences(model, operation, size):
    double = copy.deepcopy(model).double()
    apply = getattr(double, operation)
    start = random_picture(1, 3, *size, dtype=torch.float64).requires_grad_()
    output = apply(start)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights * output).sum(), start)

    def value(x):
        return float((weights * apply(x)).sum())

    start, step, errors = start.detach(), 1e-8, []
    for _ in range(5):
        direction = torch.randn(start.shape, generator=generator, dtype=torch.float64)
        measured = (value(start + step * direction) - value(start - step * direction)) / (2 * step)
        length = float(torch.linalg.vector_norm(gradient) * torch.linalg.vector_norm(direction))
        errors.append(abs(measured - float((gradient * direction).sum())) / length)
    # The median: a step may cross a kink of the leaky rectifier, where the two differ rightly.
    assert statistics.median(errors) < 1e-6


def test_frozen(model):
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    lr = random_picture(1, 3, 4, 4).requires_grad_()
    torch.autograd.grad(model.upscale(lr).sum(), lr)
    assert all(parameter.grad is None for parameter in model.parameters())


WRONG = {
    "no batch": torch.zeros(3, 8, 8),
    "gray": torch.zeros(1, 1, 8, 8),
    "alpha": torch.zeros(1, 4, 8, 8),
    "channels last": torch.zeros(1, 8, 8, 3),
    "no rows": torch.zeros(1, 3, 0, 8),
    "no pictures": torch.zeros(0, 3, 8, 8),
    "bytes": torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    "complex": torch.zeros(1, 3, 8, 8, dtype=torch.complex64),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("operation", ["downscale", "upscale"])
def test_input_is_checked(model, operation, wrong):
    with pytest.raises(ShapeError, match=rf"{operation}: got torch\..* needs floating point \[N, 3, H, W\]"):
        getattr(model, operation)(wrong)


@pytest.mark.parametrize("operation", ["downscale", "upscale"])
def test_a_precision_that_is_not_that_of_the_weights(model, operation):
    picture = random_picture(1, 3, 8, 8)
    if not list(model.parameters()):
        wanted = getattr(model, operation)(picture)
        got = getattr(model, operation)(picture.double())
        torch.testing.assert_close(got.float(), wanted, rtol=0, atol=1e-5)
        return
    with pytest.raises(ShapeError, match=rf"{operation}: got torch\.float64.*torch\.float32"):
        getattr(model, operation)(picture.double())


def test_name_and_scale(model):
    assert model.scale in (2, 4, 8)
    assert model.name.removesuffix("-small").endswith(f"-x{model.scale}")
    assert isinstance(model, hcd.Rescaler)
