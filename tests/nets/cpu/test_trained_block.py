"""Dense blocks in training: their own step of autograd has the gradients of the operations one by one."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from hcd.nets.cpu import trained_block as trained_blocks
from hcd.nets.cpu.precision import has_bfloat16
from hcd.nets.cpu.trained_block import run_trained, trains_in_bfloat16
from hcd.nets.dense import RRDB, DenseBlock, ResidualDenseBlock

BLOCKS = {
    "to many": lambda: DenseBlock(3, 9, growth=4),
    "to few": lambda: DenseBlock(9, 3, growth=4),
    "many to many": lambda: DenseBlock(6, 8, growth=4),
    "four convolutions": lambda: DenseBlock(6, 2, growth=4, convs=4),
    "one convolution": lambda: DenseBlock(3, 3, convs=1),
}
needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this processor does not multiply in bfloat16")


@pytest.fixture(params=BLOCKS)
def block(request):
    return with_weights(BLOCKS[request.param]())


def with_weights(block):
    for parameter in block.parameters():  # the last convolution starts at zero
        torch.nn.init.normal_(parameter, std=0.1)
    return block.to(memory_format=torch.channels_last)


def in_autocast(block, x):
    with torch.autocast("cpu", torch.bfloat16):
        return block(x).float()


def gradients(result, block, x):
    probe = torch.sin(torch.arange(result.numel(), dtype=torch.float32)).view(result.shape)
    return torch.autograd.grad(result, [x, *block.parameters()], probe)


def picture_for(block, side=8):
    return torch.randn(2, next(block.parameters()).shape[1], side, side + 3, requires_grad=True)


def test_formulas_are_those_of_autograd(block, monkeypatch):
    # Without rounding in between, both must agree to the last digits.
    monkeypatch.setattr(trained_blocks, "_TYPE", torch.float32)
    x = picture_for(block)
    expected, result = block(x), run_trained([(conv.weight, conv.bias) for conv in block.children()], x)
    torch.testing.assert_close(result, expected)
    for found, known in zip(gradients(result, block, x), gradients(expected, block, x), strict=True):
        torch.testing.assert_close(found, known, rtol=1e-4, atol=1e-4)


@needs_bfloat16
def test_rounding_is_no_worse_than_that_of_autocast(block, monkeypatch):
    x = picture_for(block, side=24)
    exact = gradients(block(x), block, x)
    ours = gradients(in_autocast(block, x), block, x)
    monkeypatch.setattr("hcd.nets.dense.trains_in_bfloat16", lambda convs, x: False)
    theirs = gradients(in_autocast(block, x), block, x)
    for own, other, known in zip(ours, theirs, exact, strict=True):
        assert (own - known).norm() <= 2 * (other - known).norm() + 1e-3 * known.norm()


@needs_bfloat16
@pytest.mark.parametrize(
    ("make", "blocks"), [(lambda: ResidualDenseBlock(6, growth=4), 1), (lambda: RRDB(6, growth=4, blocks=2), 2)]
)
def test_blocks_of_other_networks_train_so_too(make, blocks, monkeypatch):
    block, runs = with_weights(make()), []
    monkeypatch.setattr("hcd.nets.dense.run_trained", lambda *of: runs.append(of) or run_trained(*of))
    x = picture_for(block)
    result, exact = in_autocast(block, x), block(x)
    assert len(runs) == blocks
    assert (result - exact).norm() < 0.01 * exact.norm()


@needs_bfloat16
def test_gradients_are_those_of_checkpointing(block):
    """Which lets what was saved be unpacked once."""
    x = picture_for(block)
    expected = gradients(in_autocast(block, x), block, x)

    def again(x):
        return in_autocast(block, x)

    found = gradients(checkpoint(again, x, use_reentrant=False), block, x)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@needs_bfloat16
def test_weights_that_stay_take_no_gradient(block):
    expected = gradients(in_autocast(block, x := picture_for(block)), block, x)[-1]
    block.requires_grad_(False)
    *_, bias = block.parameters()
    bias.requires_grad_()
    result = in_autocast(block, x)
    probe = torch.sin(torch.arange(result.numel(), dtype=torch.float32)).view(result.shape)
    result.backward(probe)
    assert torch.equal(bias.grad, expected)
    assert all(parameter.grad is None for parameter in block.parameters() if parameter is not bias)


@needs_bfloat16
def test_second_derivatives_are_refused(block):
    x = picture_for(block)
    (gradient,) = torch.autograd.grad(in_autocast(block, x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_only_autocast_to_bfloat16_asks_for_it():
    x = torch.zeros(1, 3, 4, 4)
    trained = [(torch.zeros(2, 3, 3, 3, requires_grad=True), torch.zeros(2))]
    frozen = [(weight.detach(), bias) for weight, bias in trained]
    assert not trains_in_bfloat16(trained, x)
    with torch.autocast("cpu", torch.float16):
        assert not trains_in_bfloat16(trained, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert trains_in_bfloat16(trained, x) == has_bfloat16()
        assert not trains_in_bfloat16(frozen, x)
        assert not torch.vmap(lambda part: torch.tensor(trains_in_bfloat16(trained, part)))(x).any()
        assert not trains_in_bfloat16(trained, x.double())
        with torch.no_grad():
            assert not trains_in_bfloat16(trained, x)


@needs_bfloat16
def test_no_gradient_is_computed_of_a_picture_that_wants_none(block, monkeypatch):
    flipped, made = trained_blocks._flipped, []
    monkeypatch.setattr(trained_blocks, "_flipped", lambda *of: made.append(of) or flipped(*of))
    in_autocast(block, picture_for(block).detach()).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
    assert all(first > 0 for _, first, _ in made)
