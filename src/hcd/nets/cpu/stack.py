"""A kernel for frozen stacks: convolutions in sequence, where only the gradient with respect to the input is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor
from torch.nn import functional as F

from hcd.nets.cpu import activation_mask, convolution
from hcd.nets.cpu.dense_block import SLOPE, Convs
from hcd.nets.cpu.kernel import Kernel


@final
class NCHWStack(Kernel):
    """One float32 picture on a CPU in NCHW; masks of one bit per inner value."""

    def __init__(self, convs: Convs) -> None:
        self._forward = [convolution.prepare(weight, bias) for weight, bias in convs]
        self._backward = [convolution.prepare_gradient(weight) for weight, _ in convs]

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        return activation_mask.allocate_saved(x, [conv.outputs for conv in self._forward[:-1]])

    def forward(self, x: Tensor, saved: list[Tensor] | None) -> Tensor:
        x = x.contiguous()
        for i, conv in enumerate(self._forward[:-1]):
            x = F.leaky_relu_(conv(x), SLOPE)
            if saved is not None:
                activation_mask.pack(x, saved[i])
        return self._forward[-1](x)

    def backward(self, gradient: Tensor, saved: Sequence[Tensor]) -> Tensor:
        gradient = self._backward[-1](gradient.contiguous())
        for conv, mask in zip(reversed(self._backward[:-1]), reversed(saved), strict=True):
            gradient = conv(activation_mask.leaky_relu_backward(mask, gradient, SLOPE))
        return gradient
