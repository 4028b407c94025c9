"""Frozen stacks of convolutions in sequence, for the gradient of their input alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor
from torch.nn import functional as F

from hcd.nets.cpu import activation_mask, convolution
from hcd.nets.cpu.dense_block import SLOPE, Convs, FrozenBlock


@final
class FrozenStack(FrozenBlock):
    """One float32 picture on a CPU, NCHW: every convolution by the kernel that is fastest for its channels.

    Of the forward pass, one bit per inner value is saved: whether it was positive.
    """

    def __init__(self, convs: Convs) -> None:
        self._forward = [convolution.prepare(weight, bias) for weight, bias in convs]
        self._backward = [convolution.prepare(convolution.flip_weights(weight), None) for weight, _ in convs]

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        return activation_mask.allocate_saved(x, [conv.outputs for conv in self._forward[:-1]])

    def forward(self, x: Tensor, kept: list[Tensor] | None) -> Tensor:
        x = x.contiguous()
        for i, conv in enumerate(self._forward[:-1]):
            x = F.leaky_relu_(conv(x), SLOPE)
            if kept is not None:
                activation_mask.pack(x, kept[i])
        return self._forward[-1](x)

    def backward(self, gradient: Tensor, kept: Sequence[Tensor]) -> Tensor:
        gradient = self._backward[-1](gradient.contiguous())
        for conv, packed in zip(reversed(self._backward[:-1]), reversed(kept), strict=True):
            gradient = conv(activation_mask.leaky_relu_backward(packed, gradient, SLOPE))
        return gradient
