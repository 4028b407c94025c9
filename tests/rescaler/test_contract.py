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
from hcd.nets import IRN, RLFN, HCFlow
from hcd.rescaler import (
    FixedKernelRescaler,
    GrainRescaler,
    GrayRescaler,
    HCFlowRescaler,
    InvertibleRescaler,
    LatentPolicy,
    Rescaler,
    SizeRequirement,
)
from hcd.zoo import model_entries
from tests.conftest import make_smooth_picture, make_tiny_irn, make_tiny_light
from tests.nets.hcflow_samples import make_tiny_hcflow
from tests.tiny_grain import make_tiny_grain
from tests.zoo.samples import make_tiny_rlfn

SHIPPED = [entry.name for entry in model_entries() if entry.weights_file is not None]


class MeanAndRepeat(Rescaler):
    """A rescaler as a user writes it."""

    def _downscale(self, hr):
        return torch.nn.functional.avg_pool2d(hr, self.scale)

    def _upscale(self, lr, top, left):
        return lr.repeat_interleave(self.scale, dim=2).repeat_interleave(self.scale, dim=3)


TINY = {
    "tiny-irn-x2-zeros": functools.partial(make_tiny_irn, 2),
    "tiny-irn-x4-gaussian": functools.partial(make_tiny_irn, 4, latent="gaussian:0"),
    "tiny-light-x2": functools.partial(make_tiny_light, (2,)),
    "tiny-light-x4": make_tiny_light,
    "tiny-hcflow-x4-zeros": make_tiny_hcflow,
    "tiny-hcflow-x4-gaussian": functools.partial(make_tiny_hcflow, latent="gaussian:0"),
    "tiny-bicubic-rlfn-x2": functools.partial(make_tiny_rlfn, 2),
    "tiny-grain-x4": make_tiny_grain,
    "bicubic-x2": functools.partial(hcd.load, "bicubic-x2"),
    "gray-bicubic-x2": lambda: GrayRescaler(hcd.load("bicubic-x2")).freeze(),
    "own-x3": lambda: MeanAndRepeat(name="own-x3", scale=3).freeze(),
}
FULL_DEPTH = {name: functools.partial(hcd.load, name) for name in SHIPPED}
# One of the shipped networks is always run; all of them run the same code.
QUICK = "irn-x4-small"
SIZES = [(16, 24), (17, 23), (9, 16), (3, 5), (1, 7), (1, 1)]


def params(sizes_of_shipped):
    """Every kind of rescaler at every size, and shipped networks at some."""
    return [
        *((name, size) for name in TINY for size in SIZES),
        *(
            pytest.param(name, size, marks=() if name == QUICK else pytest.mark.slow)
            for name in FULL_DEPTH
            for size in sizes_of_shipped
        ),
    ]


@functools.cache
def made(name):
    return {**TINY, **FULL_DEPTH}[name]()


@pytest.fixture(
    params=[*TINY, *(name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FULL_DEPTH)]
)
def model(request):
    return made(request.param)


def fitting(model, size):
    """The size, or the only one that the model takes."""
    return size if model.hr_size is None else model.hr_size


def lr_size(size, scale):
    return tuple(math.ceil(side / scale) for side in size)


def random_picture(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("name", "size"), params([(17, 23), (1, 1)]))
def test_shapes_and_determinism(name, size):
    model = made(name)
    size = fitting(model, size)
    hr = random_picture(2, 3, *size)
    torch.manual_seed(1)
    lr = model.downscale(hr)
    assert lr.shape == (2, 3, *lr_size(size, model.scale))
    assert lr.dtype == hr.dtype
    restored = model.upscale(lr)
    assert restored.shape == (2, 3, *(side * model.scale for side in lr.shape[-2:]))
    assert torch.isfinite(restored).all()
    torch.manual_seed(2)
    assert torch.equal(model.downscale(hr.clone()), lr)
    assert torch.equal(model.upscale(lr.clone()), restored)


def test_the_input_is_left_alone(model):
    hr = random_picture(1, 3, *fitting(model, (9, 10)))
    kept = hr.clone()
    model.upscale(model.downscale(hr))
    assert torch.equal(hr, kept)


def test_pictures_of_a_batch_do_not_mix(model):
    hr = random_picture(2, 3, *fitting(model, (9, 7)))
    lr = model.downscale(hr)
    restored = model.upscale(lr)
    for index in range(2):
        one = slice(index, index + 1)
        # Another batch size may choose another algorithm of convolution, hence no equality to the bit.
        torch.testing.assert_close(model.downscale(hr[one]), lr[one], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.upscale(lr[one]), restored[one], rtol=1e-4, atol=1e-4)


def test_memory_layout_does_not_matter(model):
    height, width = fitting(model, (16, 24))
    hr = random_picture(1, 3, height, width)
    channels_last = hr.contiguous(memory_format=torch.channels_last)
    strided = random_picture(1, 3, 2 * height, width).copy_(hr.repeat_interleave(2, dim=2))[:, :, ::2]
    wanted = model.downscale(hr)
    for same in (channels_last, strided):
        torch.testing.assert_close(model.downscale(same), wanted, rtol=1e-5, atol=1e-5)


def test_pictures_stay_pictures(model):
    if isinstance(model, GrainRescaler):
        pytest.skip("random weights know no faces; its tests compare it with golden values")
    hr = make_smooth_picture(48, 72)
    if isinstance(model, GrayRescaler):
        hr = hr.mean(dim=1, keepdim=True).expand_as(hr)
    lr = model.downscale(hr)
    # A gray picture would reach 17 dB: these are no pictures of something else, nor mirrored or shifted.
    assert hcd.psnr(lr, torch.nn.functional.avg_pool2d(hr, model.scale), channel="rgb") > 22
    # An untrained network does not subdue noise that it is given as details.
    if model.latent == "zeros" or not model.name.startswith("tiny-"):
        assert hcd.psnr(model.upscale(hcd.quantize(lr)), hr, channel="rgb") > 22


@pytest.mark.parametrize("operation", ["downscale", "upscale"])
@pytest.mark.parametrize("name", [*TINY, QUICK])
def test_gradient_against_finite_differences(name, operation):
    model, size = made(name), (5, 6)
    double = copy.deepcopy(model).double()
    apply = getattr(double, operation)
    if model.hr_size is not None:
        size = model.hr_size if operation == "downscale" else lr_size(model.hr_size, model.scale)
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
    lr = random_picture(1, 3, *lr_size(fitting(model, (16, 16)), model.scale)).requires_grad_()
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
def test_input_is_checked(operation, wrong):
    """By the base class."""
    with pytest.raises(ShapeError, match=rf"{operation}: got torch\..* needs floating point \[N, 3, H, W\]"):
        getattr(made("own-x3"), operation)(wrong)


@pytest.mark.parametrize("operation", ["downscale", "upscale"])
def test_a_precision_that_is_not_that_of_the_weights(model, operation):
    size = fitting(model, (8, 8))
    picture = random_picture(1, 3, *(size if operation == "downscale" else lr_size(size, model.scale)))
    if not list(model.parameters()):
        wanted = getattr(model, operation)(picture)
        got = getattr(model, operation)(picture.double())
        torch.testing.assert_close(got.float(), wanted, rtol=0, atol=1e-5)
        return
    with pytest.raises(ShapeError, match=rf"{operation}: got torch\.float64.*torch\.float32"):
        getattr(model, operation)(picture.double())


def test_name_and_scale(model):
    assert model.scale >= 2
    assert model.name.removesuffix("-small").endswith(f"-x{model.scale}")
    assert isinstance(model, hcd.Rescaler)


OFFICIAL = {
    "irn-x2": lambda: InvertibleRescaler(_disturbed(IRN((8,))), latent=LatentPolicy(0), name="irn-x2"),
    "irn-x4": lambda: InvertibleRescaler(_disturbed(IRN((8, 8))), latent=LatentPolicy(0), name="irn-x4"),
    "irn-x8": lambda: InvertibleRescaler(_disturbed(IRN((8, 8, 8))), latent=LatentPolicy(0), name="irn-x8"),
    "hcflow-x4": lambda: HCFlowRescaler(_disturbed(HCFlow().eval()), latent=LatentPolicy(), name="hcflow-x4"),
    "bicubic-rlfn-x4": lambda: FixedKernelRescaler(
        _disturbed(RLFN()), 4, name="bicubic-rlfn-x4", white=255.0, size=SizeRequirement(minimum=RLFN.smallest)
    ),
}


def _disturbed(net):
    """The network with weights that are not those of the identity any more, which is what some start as."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.003 * torch.randn(parameter.shape, generator=generator)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_published_sizes(name):
    """The contract in short; GRAIN's 1024 pixels are run where they are compared with golden values."""
    model = OFFICIAL[name]().freeze()
    for size in ((17, 23), (1, 1)):
        hr = random_picture(2, 3, *size).requires_grad_()
        lr = model.downscale(hr)
        assert lr.shape == (2, 3, *lr_size(size, model.scale))
        restored = model.upscale(lr)
        assert restored.shape == (2, 3, *(side * model.scale for side in lr.shape[-2:]))
        assert torch.equal(model.upscale(model.downscale(hr)), restored)
        (gradient,) = torch.autograd.grad(restored.square().sum(), hr)
        assert gradient.isfinite().all()
        assert gradient.any()
