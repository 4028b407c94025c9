"""What frozen blocks hold beside their weights is counted before it is made."""

from __future__ import annotations

import pytest
import torch

from hcd.nets.cpu import dispatch as frozen
from hcd.nets.cpu import precision
from hcd.nets.cpu.conv2d import FreezableConv2d
from hcd.nets.cpu.dispatch import bytes_to_prepare
from hcd.nets.cpu.precision import gradient_precision
from hcd.nets.dense import DenseBlock


@pytest.fixture(params=[False, True], ids=["float32 alone", "bfloat16 too"])
def has_bfloat16(request, monkeypatch):
    """As on a processor without and with bfloat16, whatever this one has: convolutions in it work on all."""
    for module in (frozen, precision):
        monkeypatch.setattr(module, "has_bfloat16", lambda: request.param)
    return request.param


def held(block):
    """Bytes of the tensors that were made of a block's weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in block.parameters()}
    storages = {}
    for _, _, kernel in frozen._PREPARED.get(block, {}).values():
        for conv in (*kernel._forward, *kernel._backward):
            for tensor in vars(conv).values():
                if isinstance(tensor, torch.Tensor):
                    storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(size for pointer, size in storages.items() if pointer not in weights)


def test_a_dense_block(has_bfloat16):
    block = DenseBlock(9, 3).requires_grad_(False).to(memory_format=torch.channels_last)
    x = torch.randn(1, 9, 16, 16)
    receiver, sender = (bytes_to_prepare(block, gradients=wanted) for wanted in (False, True))
    assert sender > receiver if has_bfloat16 else sender == receiver
    block(x)
    assert held(block) == pytest.approx(receiver, rel=0.05)
    assert bytes_to_prepare(block, gradients=False) == 0
    assert bytes_to_prepare(block, gradients=True) == sender - receiver
    with gradient_precision("bfloat16"):
        block(x.requires_grad_())
    assert held(block) == pytest.approx(sender, rel=0.05)
    assert bytes_to_prepare(block, gradients=True) == 0


def test_a_single_convolution():
    conv = FreezableConv2d(20, 20, 3, padding=1).requires_grad_(False)
    expected = bytes_to_prepare(conv, gradients=True)
    assert expected == bytes_to_prepare(conv, gradients=False) == 2 * sum(each.nbytes for each in conv.parameters())
    conv(torch.randn(1, 20, 24, 24))
    assert bytes_to_prepare(conv, gradients=True) == 0


def test_nothing_is_laid_out_of_weights_that_train():
    assert bytes_to_prepare(DenseBlock(3, 9), gradients=True) == 0
    assert bytes_to_prepare(torch.nn.Conv2d(3, 3, 3).requires_grad_(False), gradients=True) == 0
