"""A kernel for frozen stacks: convolutions in sequence, where only the gradient with respect to the input is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor
from torch.nn import functional as F

from hcd.nets.cpu import activation_mask
from hcd.nets.cpu.dense_block import SLOPE, NCHWBlock


@final
class NCHWStack(NCHWBlock):
    """Stack in NCHW."""

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
