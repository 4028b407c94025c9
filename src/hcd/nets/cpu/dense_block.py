"""Ways of computing a dense block whose weights stay as they are, for the gradient of its input alone.

That gradient needs no more of the forward pass than which outputs were positive, where autograd would keep every
concatenated input in full.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.nets.cpu import activation_mask, convolution

SLOPE = 0.2  # of the leaky ReLU
Convs = Sequence[tuple[Tensor, Tensor]]
"""Weight ``[out, in, 3, 3]`` and bias ``[out]`` of every convolution of a block, first to last."""


class FrozenBlock(ABC):
    """One way of computing a block; holds nothing of a picture."""

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        """Where ``forward`` of ``x`` puts what ``backward`` needs, one tensor per inner convolution.

        Asked for before anything is computed: tensors that stay, among others that go, leave holes in the heap.
        """
        return []

    @abstractmethod
    def forward(self, x: Tensor, kept: list[Tensor] | None) -> Tensor:
        """The result; ``kept``, where given, is what ``allocate_saved`` returned, and takes what ``backward`` needs."""

    @abstractmethod
    def backward(self, gradient: Tensor, kept: Sequence[Tensor]) -> Tensor:
        """The gradient by the input."""


@final
class Concatenated(FrozenBlock):
    """Concatenates the input of every convolution, in the layout that the weights have; one byte per inner value."""

    def __init__(self, convs: Convs) -> None:
        self._convs = convs

    def forward(self, x: Tensor, kept: list[Tensor] | None) -> Tensor:
        for weight, bias in self._convs[:-1]:
            new = F.leaky_relu_(F.conv2d(x, weight, bias, padding=1), SLOPE)
            if kept is not None:
                kept.append(new > 0)
            x = torch.cat([x, new], dim=1)
        weight, bias = self._convs[-1]
        return F.conv2d(x, weight, bias, padding=1)

    def backward(self, gradient: Tensor, kept: Sequence[Tensor]) -> Tensor:
        # By all the inputs of the last convolution, then by those of the one before, and so on.
        total = _input_gradient(gradient, self._convs[-1][0])
        for (weight, _), positive in zip(reversed(self._convs[:-1]), reversed(kept), strict=True):
            seen = weight.shape[1]
            new = total[:, seen:]
            total = _input_gradient(torch.where(positive, new, SLOPE * new), weight).add_(total[:, :seen])
        return total


def _input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient of a 3×3 convolution by its input: a convolution with the weights turned around."""
    layout = torch.channels_last if weight.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    flipped = convolution.flip_weights(weight).contiguous(memory_format=layout)
    return F.conv2d(gradient.contiguous(memory_format=layout), flipped, padding=1)


@final
class InPlanes(FrozenBlock):
    """One picture on a CPU, plane by plane: a part of the channels is then one piece of memory.

    Nothing is concatenated: every convolution reads the first planes of one tensor and its result is written behind
    them. Gradients are summed into planes likewise. What was positive is kept as one bit per inner value.
    Each convolution is computed in the way that is fastest for its channels, see :mod:`hcd.nets.cpu.convolution`.
    """

    def __init__(self, convs: Convs) -> None:
        self._forward = [convolution.prepare(weight, bias) for weight, bias in convs]
        self._backward = [convolution.prepare(convolution.flip_weights(weight), None) for weight, _ in convs]

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        return activation_mask.allocate_saved(x, [conv.outputs for conv in self._forward[:-1]])

    def forward(self, x: Tensor, kept: list[Tensor] | None) -> Tensor:
        count, channels, height, width = x.shape
        last = self._forward[-1]
        planes = x.new_empty((count, last.inputs, height, width))
        planes[:, :channels] = x
        for i, conv in enumerate(self._forward[:-1]):
            new = F.leaky_relu_(conv(planes[:, : conv.inputs]), SLOPE)
            if kept is not None:
                activation_mask.pack(new, kept[i])
            planes[:, conv.inputs : conv.inputs + conv.outputs] = new
        return last(planes)

    def backward(self, gradient: Tensor, kept: Sequence[Tensor]) -> Tensor:
        total = self._backward[-1](gradient.contiguous())
        for conv, packed in zip(reversed(self._backward[:-1]), reversed(kept), strict=True):
            seen = conv.outputs
            total = total[:, :seen].add_(conv(activation_mask.leaky_relu_backward(packed, total[:, seen:], SLOPE)))
        return total
