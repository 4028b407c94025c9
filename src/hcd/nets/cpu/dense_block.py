"""Kernels for dense blocks with frozen weights, where only the gradient with respect to the input is needed.

That gradient needs nothing of the forward pass but the activation masks; autograd would save every concatenated input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.nets.cpu import activation_mask, convolution
from hcd.nets.cpu.kernel import Kernel

SLOPE = 0.2  # of the leaky ReLU
Convs = Sequence[tuple[Tensor, Tensor]]
"""Weight ``[out, in, 3, 3]`` and bias ``[out]`` of every convolution of a block, first to last."""


@final
class ConcatenatedDenseBlock(Kernel):
    """Concatenates the inputs of every convolution, in the memory format of the weights; masks of one byte per value.

    Runs for any batch, type and device.
    """

    def __init__(self, convs: Convs) -> None:
        self._convs = convs

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        count, _, height, width = x.shape
        return [
            torch.empty(
                (count, len(weight), height, width), dtype=torch.bool, device=x.device, memory_format=_layout(weight)
            )
            for weight, _ in self._convs[:-1]
        ]

    def forward(self, x: Tensor, saved: list[Tensor] | None) -> Tensor:
        for i, (weight, bias) in enumerate(self._convs[:-1]):
            new = F.leaky_relu_(F.conv2d(x, weight, bias, padding=1), SLOPE)
            if saved is not None:
                torch.gt(new, 0, out=saved[i])
            x = torch.cat([x, new], dim=1)
        weight, bias = self._convs[-1]
        return F.conv2d(x, weight, bias, padding=1)

    def backward(self, gradient: Tensor, saved: Sequence[Tensor]) -> Tensor:
        # With respect to all inputs of the last convolution, then of the one before, and so on.
        total = _input_gradient(gradient, self._convs[-1][0])
        for (weight, _), positive in zip(reversed(self._convs[:-1]), reversed(saved), strict=True):
            inputs = weight.shape[1]
            new = total[:, inputs:]
            total = _input_gradient(torch.where(positive, new, SLOPE * new), weight).add_(total[:, :inputs])
        return total


def _layout(weight: Tensor) -> torch.memory_format:
    return torch.channels_last if weight.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def _input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    layout = _layout(weight)
    flipped = convolution.flip_weights(weight).contiguous(memory_format=layout)
    return F.conv2d(gradient.contiguous(memory_format=layout), flipped, padding=1)


class NCHWBlock(Kernel):
    """One float32 picture on a CPU in NCHW, with the fastest convolution per layer and masks of one bit per value."""

    def __init__(self, convs: Convs) -> None:
        self._forward = [convolution.prepare(weight, bias) for weight, bias in convs]
        self._backward = [convolution.prepare_gradient(weight) for weight, _ in convs]

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        return activation_mask.allocate_saved(x, [conv.outputs for conv in self._forward[:-1]])


@final
class NCHWDenseBlock(NCHWBlock):
    """Dense block in NCHW, where a range of channels is one piece of memory.

    Nothing is concatenated: every convolution reads the first channels of one tensor and its result is written behind
    them. Gradients accumulate in place.
    """

    def forward(self, x: Tensor, saved: list[Tensor] | None) -> Tensor:
        count, channels, height, width = x.shape
        last = self._forward[-1]
        features = x.new_empty((count, last.inputs, height, width))
        features[:, :channels] = x
        for i, conv in enumerate(self._forward[:-1]):
            new = F.leaky_relu_(conv(features[:, : conv.inputs]), SLOPE)
            if saved is not None:
                activation_mask.pack(new, saved[i])
            features[:, conv.inputs : conv.inputs + conv.outputs] = new
        return last(features)

    def backward(self, gradient: Tensor, saved: Sequence[Tensor]) -> Tensor:
        total = self._backward[-1](gradient.contiguous())
        for conv, mask in zip(reversed(self._backward[:-1]), reversed(saved), strict=True):
            inputs = conv.outputs
            total = total[:, :inputs].add_(conv(activation_mask.leaky_relu_backward(mask, total[:, inputs:], SLOPE)))
        return total
