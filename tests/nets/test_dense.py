"""Dense blocks: the gradient through frozen ones is autograd's, at a fraction of what autograd keeps."""

from __future__ import annotations

import copy

import pytest
import torch

from hcd.nets.dense import RRDB, DenseBlock, ResidualDenseBlock

BLOCKS = {
    "dense": lambda: DenseBlock(3, 9, growth=4),
    "four convolutions": lambda: DenseBlock(6, 2, growth=4, convs=4),
    "one convolution": lambda: DenseBlock(3, 3, convs=1),
    "residual": lambda: ResidualDenseBlock(6, growth=4),
    "RRDB": lambda: RRDB(6, growth=4, blocks=2),
}


@pytest.fixture(params=BLOCKS)
def block(request):
    torch.manual_seed(0)
    made = BLOCKS[request.param]().double()
    for parameter in made.parameters():  # the last convolution starts at zero
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def picture_for(block):
    channels = next(block.parameters()).shape[1]
    return torch.randn(2, channels, 5, 7, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["rows", "channels last"])
def test_frozen_gradient_is_that_of_autograd(block, layout):
    block.to(memory_format=layout)
    x = picture_for(block)
    expected = block(x)
    probe = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(expected, x, probe)
    block.requires_grad_(False)
    result = block(x)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(result, x, probe)[0], gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_frozen_gradient_is_that_of_finite_differences(block):
    assert torch.autograd.gradcheck(block.requires_grad_(False), picture_for(block))


def kept_bytes(block, x):
    """Bytes that the graph holds on to, weights aside."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = block(x)
    assert result.requires_grad
    return sum(size for pointer, size in kept.items() if pointer not in weights)


def test_frozen_block_keeps_one_bit_per_inner_value():
    block, x = DenseBlock(3, 9, growth=32), torch.randn(1, 3, 8, 8, requires_grad=True)
    trained = kept_bytes(block, x)
    assert kept_bytes(block.requires_grad_(False), x) == 4 * 32 * 8 * 8 / 8
    assert trained > 12 * 4 * 32 * 8 * 8


def test_changed_weights_are_noticed():
    """What is made of weights is kept, but not beyond a change of them, in place or by other tensors."""
    block, x = DenseBlock(3, 9, growth=16).requires_grad_(False), torch.randn(1, 3, 8, 8)
    before = block(x)
    with torch.no_grad():
        block.conv5.bias.add_(1)
    torch.testing.assert_close(block(x), before + 1)
    block.load_state_dict({**block.state_dict(), "conv5.bias": torch.full((9,), 2.0)})
    torch.testing.assert_close(block(x), before + 2)
    block.conv5.bias = torch.nn.Parameter(torch.full((9,), 3.0), requires_grad=False)
    torch.testing.assert_close(block(x), before + 3)


def test_a_copy_has_weights_of_its_own():
    block, x = DenseBlock(3, 9, growth=16).requires_grad_(False), torch.randn(1, 3, 8, 8)
    before = block(x)
    twin = copy.deepcopy(block)
    with torch.no_grad():
        twin.conv5.bias.add_(1)
    assert torch.equal(block(x), before)
    torch.testing.assert_close(twin(x), before + 1)


def test_inference_mode_leaves_gradients_possible():
    block = DenseBlock(3, 9, growth=16).requires_grad_(False)
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    with torch.inference_mode():
        block(x.detach())
    assert torch.autograd.grad(block(x).sum(), x)[0].shape == x.shape


def test_weights_that_train_still_get_gradients():
    block = DenseBlock(3, 9, growth=4)
    block.conv1.requires_grad_(False)
    block(torch.randn(1, 3, 8, 8, requires_grad=True)).sum().backward()
    assert block.conv2.weight.grad is not None


def test_a_second_derivative_is_refused_not_wrong():
    block = DenseBlock(3, 9, growth=4).requires_grad_(False)
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_autocast_is_left_to_autograd():
    block = DenseBlock(3, 9, growth=4).requires_grad_(False)
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        result = block(x)
    assert result.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(result.float().sum(), x)
    assert gradient.dtype == torch.float32


def test_memory_is_counted_where_tensors_have_no_contents():
    with torch.device("meta"):
        block = DenseBlock(3, 9, growth=4).requires_grad_(False)
        x = torch.randn(1, 3, 8, 8, requires_grad=True)
    assert torch.autograd.grad(block(x).sum(), x)[0].shape == x.shape
