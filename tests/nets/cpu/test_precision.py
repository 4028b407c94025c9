"""Gradients in bfloat16: close to those in float32, only where they are asked for, and the same every time."""

from __future__ import annotations

import pytest
import skimage.data
import torch

import hcd
from hcd.errors import UsageError
from hcd.nets.cpu import precision
from hcd.nets.cpu.dense_block import NCHWDenseBlock
from hcd.nets.cpu.dense_block_bfloat16 import Bfloat16DenseBlock
from hcd.nets.cpu.precision import gradient_precision
from hcd.nets.dense import DenseBlock
from hcd.nets.irn import IRN


@pytest.fixture(autouse=True)
def machine_with_bfloat16(monkeypatch):
    """Convolutions in bfloat16 are computed on any machine, only not fast."""
    torch.manual_seed(0)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)


@pytest.fixture
def block():
    made = DenseBlock(9, 3).requires_grad_(False)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


def smooth(*shape):
    return torch.nn.functional.avg_pool2d(torch.randn(shape[0], shape[1], 3 * shape[2], 3 * shape[3]), 3)


def far(result, expected):
    return float((result - expected).detach().norm() / expected.norm())


@pytest.mark.parametrize(("shape", "growth"), [((9, 3), 32), ((3, 9), 32), ((3, 45), 32), ((3, 9), 3)])
@pytest.mark.parametrize("size", [(24, 31), (1, 5)])
def test_values_and_gradients_are_close(shape, growth, size):
    block = DenseBlock(*shape, growth=growth).requires_grad_(False)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    convs = [(conv.weight, conv.bias) for conv in block._convs()]
    x, probe = smooth(1, shape[0], *size), torch.randn(1, shape[1], *size)
    whole, half = NCHWDenseBlock(convs), Bfloat16DenseBlock(convs)
    kept_whole, kept_half = whole.allocate_saved(x), half.allocate_saved(x)
    assert far(half.forward(x, kept_half), whole.forward(x, kept_whole)) < 0.02
    assert far(half.backward(probe, kept_half), whole.backward(probe, kept_whole)) < 0.15
    assert half.forward(x, None).dtype == half.backward(probe, kept_half).dtype == torch.float32


def test_only_what_a_gradient_is_wanted_of_changes(block):
    x = smooth(1, 9, 16, 16)
    plain = block(x)
    with gradient_precision("bfloat16"):
        assert torch.equal(block(x), plain)
        with torch.no_grad():
            assert torch.equal(block(x.requires_grad_()), plain)
        result = block(x)
        assert not torch.equal(result, plain)
        assert far(result, plain) < 0.02
    # A gradient is taken in the precision of its forward pass, wherever that happens.
    assert isinstance(result.grad_fn.kernel, Bfloat16DenseBlock)
    assert torch.equal(block(x.detach()), plain)


def test_float32_is_float32(block):
    with gradient_precision("float32"):
        assert isinstance(block.kernel_for(torch.zeros(1, 9, 8, 8, requires_grad=True)), NCHWDenseBlock)
    for chosen in ("auto", "bfloat16"):
        with gradient_precision(chosen):
            assert isinstance(block.kernel_for(torch.zeros(1, 9, 8, 8, requires_grad=True)), Bfloat16DenseBlock)


def test_a_machine_without_stays_in_float32(block, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    with gradient_precision("bfloat16"):
        assert isinstance(block.kernel_for(torch.zeros(1, 9, 8, 8, requires_grad=True)), NCHWDenseBlock)


def test_an_unknown_precision_is_named():
    with (
        pytest.raises(UsageError, match="precision 'half': use one of auto, float32, bfloat16"),
        gradient_precision("half"),
    ):
        pass


def test_an_error_inside_ends_it(block):
    with pytest.raises(ZeroDivisionError), gradient_precision("bfloat16"):
        raise ZeroDivisionError
    assert not precision.wants_bfloat16()


def test_the_same_twice_gives_the_same_bytes():
    net = IRN((2, 1)).requires_grad_(False)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    y = torch.randn(1, 48, 17, 10, requires_grad=True)
    with gradient_precision("bfloat16"):
        first, second = (torch.autograd.grad(net.inverse(y).square().sum(), y)[0] for _ in range(2))
    (whole,) = torch.autograd.grad(net.inverse(y).square().sum(), y)
    assert torch.equal(first, second)
    assert 0 < far(first, whole) < 0.1


@pytest.mark.slow
def test_a_descent_on_a_photograph_ends_where_it_does_in_float32():
    """A few steps on the LR picture by the shipped network; both results are measured in float32."""
    model = hcd.load("irn-x4-small")
    hr = torch.from_numpy(skimage.data.chelsea()[40:136, 120:216]).permute(2, 0, 1)[None].float() / 255
    start = model.downscale(hr)

    def reached(chosen):
        lr = start.clone()
        with gradient_precision(chosen):
            for _ in range(5):
                sample = lr.clone().requires_grad_()
                (slope,) = torch.autograd.grad((model.upscale(sample) - hr).square().sum(), sample)
                lr = lr - 0.05 * slope / slope.norm()
        return hcd.psnr(hcd.quantize(model.upscale(hcd.quantize(lr))), hr, channel="rgb")

    plain = hcd.psnr(hcd.quantize(model.upscale(hcd.quantize(start))), hr, channel="rgb")
    whole, half = reached("float32"), reached("bfloat16")
    assert whole > plain + 0.1
    assert abs(half - whole) < 0.02
