"""Kernels of convolutions and of dense blocks in NCHW agree with PyTorch's operators, to float tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hcd.nets.cpu import convolution
from hcd.nets.cpu.convolution import DirectConvolution, MatrixConvolution, WinogradConvolution, prepare
from hcd.nets.cpu.dense_block import ConcatenatedDenseBlock, NCHWDenseBlock
from hcd.nets.dense import DenseBlock

ROWS, LAST = torch.contiguous_format, torch.channels_last
CASES = [
    ((1, 1), True, ROWS),
    ((5, 7), False, LAST),
    ((1, 400), True, LAST),
    ((20, 20), True, ROWS),
    ((33, 22), False, LAST),
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("kernel", [DirectConvolution, MatrixConvolution, WinogradConvolution])
@pytest.mark.parametrize(("size", "biased", "layout"), CASES)
def test_every_kernel_is_the_convolution(kernel, size, biased, layout):
    if kernel is WinogradConvolution and not convolution.has_winograd():
        pytest.skip("this PyTorch brings no NNPACK")
    x, weight = torch.randn(1, 20, *size), torch.randn(5, 20, 3, 3)
    bias = torch.randn(5) if biased else None
    result = kernel(weight.contiguous(memory_format=layout), bias)(x)
    torch.testing.assert_close(result, F.conv2d(x, weight, bias, padding=1), rtol=1e-4, atol=1e-3)


def test_the_kernel_follows_the_channels(monkeypatch):
    def chosen(outputs, inputs):
        return type(prepare(torch.zeros(outputs, inputs, 3, 3), None))

    monkeypatch.setattr(convolution, "has_winograd", lambda: True)
    assert chosen(32, 105) is WinogradConvolution
    assert chosen(3, 137) is MatrixConvolution
    assert chosen(32, 3) is DirectConvolution
    monkeypatch.setattr(convolution, "has_winograd", lambda: False)
    assert chosen(32, 105) is DirectConvolution


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("shape", [(9, 3), (3, 9), (45, 3), (3, 45)])
def test_a_block_in_nchw_is_the_concatenated_one(monkeypatch, winograd, shape):
    """In float32; the reference gradient takes the masks of the kernel, since a kink has two slopes."""
    if winograd and not convolution.has_winograd():
        pytest.skip("this PyTorch brings no NNPACK")
    monkeypatch.setattr(convolution, "has_winograd", lambda: winograd)
    block = DenseBlock(*shape).requires_grad_(False)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    convs = [(conv.weight, conv.bias) for conv in block._convs()]
    x, probe = torch.randn(1, shape[0], 21, 22), torch.randn(1, shape[1], 21, 22)
    slow, fast = ConcatenatedDenseBlock(convs), NCHWDenseBlock(convs)
    bits, signs = fast.allocate_saved(x), slow.allocate_saved(x)
    expected, result = slow.forward(x, signs), fast.forward(x, bits)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    signs = [
        torch.from_numpy(np.unpackbits(packed.numpy(), count=sign.numel())).view(sign.shape).bool()
        for packed, sign in zip(bits, signs, strict=True)
    ]
    gradient = slow.backward(probe, signs)
    torch.testing.assert_close(fast.backward(probe, bits), gradient, rtol=1e-4, atol=1e-4 * float(gradient.abs().max()))


def test_batches_and_doubles_are_concatenated():
    block = DenseBlock(3, 9, growth=16).requires_grad_(False)
    assert isinstance(block.kernel_for(torch.zeros(1, 3, 8, 8)), NCHWDenseBlock)
    assert isinstance(block.kernel_for(torch.zeros(2, 3, 8, 8)), ConcatenatedDenseBlock)
    assert isinstance(block.kernel_for(torch.zeros(1, 3, 8, 8, dtype=torch.double)), ConcatenatedDenseBlock)
    assert block.requires_grad_(True).kernel_for(torch.zeros(1, 3, 8, 8)) is None


def test_little_is_left_to_direct_convolution():
    weight = torch.randn(5, 20, 3, 3)
    x = torch.randn(1, 20, 19, 21)
    assert torch.equal(WinogradConvolution(weight, None)(x), F.conv2d(x, weight, padding=1))
