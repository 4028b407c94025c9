"""Frozen convolutions: values and gradients are PyTorch's, nothing is saved, and all else is left to PyTorch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hcd.nets.cpu import convolution
from hcd.nets.cpu.conv2d import FreezableConv2d
from hcd.nets.cpu.precision import gradient_precision

# Height and width, input and output channels, side of the kernel, bias: every kernel, above and below its limits.
CASES = [
    ((1, 1), (20, 24), 3, True),
    ((20, 20), (20, 24), 3, True),
    ((33, 22), (20, 24), 3, False),
    ((5, 7), (3, 20), 3, False),
    ((33, 22), (3, 20), 3, True),
    ((5, 7), (20, 3), 3, False),
    ((33, 22), (20, 3), 3, True),
    ((20, 20), (5, 6), 3, True),
    ((1, 1), (20, 3), 1, True),
    ((5, 7), (3, 20), 1, False),
    ((33, 22), (20, 24), 1, True),
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make_frozen(*arguments, **settings):
    return FreezableConv2d(*arguments, **settings).requires_grad_(False)


def make_plain(conv):
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain


def with_gradient(conv, x, probe):
    sample = x.clone().requires_grad_()
    result = conv(sample)
    return result.detach(), torch.autograd.grad(result, sample, probe)[0]


@pytest.mark.parametrize(("size", "channels", "side", "biased"), CASES)
@pytest.mark.parametrize("winograd", [True, False])
def test_values_and_gradients_are_those_of_pytorch(monkeypatch, size, channels, side, biased, winograd):
    if winograd and not convolution.has_winograd():
        pytest.skip("this PyTorch brings no NNPACK")
    monkeypatch.setattr(convolution, "has_winograd", lambda: winograd)
    conv = make_frozen(*channels, side, padding=side // 2, bias=biased)
    x, probe = torch.randn(1, channels[0], *size), torch.randn(1, channels[1], *size)
    assert conv.kernel_for(x) is not None
    result, wanted = with_gradient(conv, x, probe), with_gradient(make_plain(conv), x, probe)
    for made, expected in zip(result, wanted, strict=True):
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    with torch.no_grad():
        assert torch.equal(conv(x), result[0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["rows", "channels last"])
def test_any_layout(layout):
    conv, x, probe = make_frozen(20, 24, 3, padding=1), torch.randn(1, 20, 24, 24), torch.randn(1, 24, 24, 24)
    expected = with_gradient(make_plain(conv), x, probe)
    conv.to(memory_format=layout)
    made = with_gradient(conv, x.contiguous(memory_format=layout), probe.contiguous(memory_format=layout))
    for result, wanted in zip(made, expected, strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("outputs", [3, 24])
@pytest.mark.parametrize("side", [1, 3])
def test_what_follows_may_work_in_place(outputs, side):
    conv, x = make_frozen(20, outputs, side, padding=side // 2), torch.randn(1, 20, 24, 24, requires_grad=True)
    (wanted,) = torch.autograd.grad(make_plain(conv)(x).relu().sum(), x)
    (gradient,) = torch.autograd.grad(conv(x).relu_().sum(), x)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-4)


def test_nothing_is_kept():
    kept = []
    x = torch.randn(1, 20, 24, 24, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        result = make_frozen(20, 24, 3, padding=1)(x)
    assert result.requires_grad
    assert not kept


LEFT = {
    "stride": {"stride": 2, "padding": 1},
    "dilation": {"dilation": 2, "padding": 2},
    "groups": {"groups": 4, "padding": 1},
    "no padding": {},
    "more padding": {"padding": 2},
    "in words": {"padding": "same"},
    "mirrored": {"padding": 1, "padding_mode": "reflect"},
}


@pytest.mark.parametrize("settings", LEFT.values(), ids=LEFT)
def test_other_kinds_are_left_to_pytorch(settings):
    conv, x = make_frozen(20, 24, 3, **settings), torch.randn(1, 20, 24, 24)
    assert conv.kernel_for(x) is None
    plain = nn.Conv2d(20, 24, 3, **settings)
    plain.load_state_dict(conv.state_dict())
    assert torch.equal(conv(x), plain(x))


def test_other_pictures_are_left_to_pytorch():
    conv = make_frozen(20, 24, 3, padding=1)
    for x in (torch.randn(2, 20, 24, 24), torch.randn(20, 24, 24)):
        assert conv.kernel_for(x) is None
        assert torch.equal(conv(x), make_plain(conv)(x))
    assert copy.deepcopy(conv).double().kernel_for(torch.randn(1, 20, 24, 24).double()) is None
    for x in (torch.randn(1, 20, 24, 24).double(), torch.randn(1, 19, 24, 24)):
        with pytest.raises(RuntimeError):
            conv(x)


@pytest.mark.parametrize("trained", ["weight", "bias"])
def test_weights_that_train_get_gradients(trained):
    conv = make_frozen(20, 24, 3, padding=1)
    getattr(conv, trained).requires_grad_(True)
    conv(torch.randn(1, 20, 24, 24)).sum().backward()
    assert getattr(conv, trained).grad is not None


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_those_who_ask_for_operations_see_them():
    conv, x = make_frozen(20, 24, 3, padding=1), torch.randn(1, 20, 24, 24)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    nodes = torch.jit.trace(conv, x, check_trace=False).inlined_graph.nodes()
    assert "aten::_convolution" in {node.kind() for node in nodes}
    slopes = torch.func.grad(lambda sample: conv(sample).square().sum())(x)
    assert slopes.shape == x.shape


def test_a_second_derivative_is_refused_not_wrong():
    conv, x = make_frozen(20, 24, 3, padding=1), torch.randn(1, 20, 24, 24, requires_grad=True)
    (gradient,) = torch.autograd.grad(conv(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_bfloat16_gains_nothing_here():
    conv, x, probe = make_frozen(20, 24, 3, padding=1), torch.randn(1, 20, 24, 24), torch.randn(1, 24, 24, 24)
    whole = with_gradient(conv, x, probe)
    with gradient_precision("bfloat16"):
        assert all(map(torch.equal, with_gradient(conv, x, probe), whole))


@pytest.mark.parametrize("outputs", [3, 24])
def test_weights_that_others_replace_are_noticed(outputs):
    """In place, through ``.data``, and where new weights might lie where old ones lay."""
    conv, x, probe = make_frozen(20, outputs, 3, padding=1), torch.randn(1, 20, 24, 24), torch.randn(1, outputs, 24, 24)
    for change in (lambda: conv.weight.mul_(2), *[lambda: setattr(conv.weight, "data", 2 * conv.weight.data)] * 3):
        before = with_gradient(conv, x, probe)
        with torch.no_grad():
            change()
        after, bias = with_gradient(conv, x, probe), conv.bias[:, None, None]
        torch.testing.assert_close(after[0] - bias, 2 * (before[0] - bias), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(after[1], 2 * before[1], rtol=1e-3, atol=1e-3)


def test_inference_mode_leaves_gradients_possible():
    conv, x = make_frozen(20, 24, 3, padding=1), torch.randn(1, 20, 24, 24, requires_grad=True)
    with torch.inference_mode():
        conv(x.detach())
    assert torch.autograd.grad(conv(x).sum(), x)[0].shape == x.shape


@pytest.mark.parametrize("side", [1, 3])
def test_memory_is_counted_where_tensors_have_no_contents(side):
    with torch.device("meta"):
        conv = make_frozen(20, 24, side, padding=side // 2)
        x = torch.randn(1, 20, 24, 24, requires_grad=True)
    assert torch.autograd.grad(conv(x).sum(), x)[0].shape == x.shape
