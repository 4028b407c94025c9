"""Dense blocks whose weights stay as they are, computed for the gradient of their input alone.

That gradient needs no more of the forward pass than which outputs were positive, where autograd would keep every
concatenated input in full. Two ways of computing lead to the same figures: :class:`Concatenated`, on any device and
in any precision, and :class:`InPlanes`, several times as fast for one picture on a CPU.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hcd.nets import convolution

SLOPE = 0.2  # of the leaky ReLU
Convs = Sequence[tuple[Tensor, Tensor]]
"""Weight ``[out, in, 3, 3]`` and bias ``[out]`` of every convolution of a block, first to last."""


def run_frozen(way: FrozenBlock, x: Tensor) -> Tensor:
    """The result of a block, with a gradient for ``x`` where one is wanted; differentiable once."""
    if x.requires_grad and torch.is_grad_enabled():
        result: Tensor = _Frozen.apply(x, way)  # type: ignore[no-untyped-call]
        return result
    return way.forward(x, None)


def frozen_way(block: nn.Module, convs: Convs, x: Tensor) -> FrozenBlock | None:
    """How to compute a block for ``x``; None where its weights may change or its operations are asked for one by one.

    Args:
        block: whose weights these are; what is made of them is kept as long as it lives and they do not change.
        convs: each sees the input and all results before it, and all but the last are followed by a leaky ReLU.
        x: ``[N, in, H, W]``.
    """
    if any(tensor.requires_grad for pair in convs for tensor in pair) or _asks_for_operations(x):
        return None
    if not convolution.is_fast_for(x):
        return Concatenated(convs)
    state = _state(convs)
    found = _KNOWN.get(block)
    if found is None or state is None or found[0] != state:
        # Outside of inference mode: a later pass may need gradients.
        with torch.inference_mode(False), torch.no_grad():
            found = (state, InPlanes(convs))
        if state is not None:
            _KNOWN[block] = found
    return found[1]


def _asks_for_operations(x: Tensor) -> bool:
    """Whether autocast, tracing or a forward-mode derivative wants to see every operation."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return True
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return True
    return forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


class FrozenBlock(ABC):
    """One way of computing a block; holds nothing of a picture."""

    @abstractmethod
    def forward(self, x: Tensor, signs: list[Tensor] | None) -> Tensor:
        """The result; ``signs``, where given, takes what ``backward`` needs, one tensor per inner convolution."""

    @abstractmethod
    def backward(self, gradient: Tensor, signs: Sequence[Tensor]) -> Tensor:
        """The gradient by the input."""


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, way: FrozenBlock) -> Tensor:
        signs: list[Tensor] = []
        result = way.forward(x, signs)
        ctx.way = way
        ctx.save_for_backward(*signs)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # Unpacked once, which is all that checkpointing around this allows.
        return ctx.way.backward(gradient, ctx.saved_tensors), None


@final
class Concatenated(FrozenBlock):
    """Concatenates the input of every convolution, in the layout that the weights have; one byte per inner value."""

    def __init__(self, convs: Convs) -> None:
        self._convs = convs

    def forward(self, x: Tensor, signs: list[Tensor] | None) -> Tensor:
        for weight, bias in self._convs[:-1]:
            new = F.leaky_relu_(F.conv2d(x, weight, bias, padding=1), SLOPE)
            if signs is not None:
                signs.append(new > 0)
            x = torch.cat([x, new], dim=1)
        weight, bias = self._convs[-1]
        return F.conv2d(x, weight, bias, padding=1)

    def backward(self, gradient: Tensor, signs: Sequence[Tensor]) -> Tensor:
        # By all the inputs of the last convolution, then by those of the one before, and so on.
        total = _input_gradient(gradient, self._convs[-1][0])
        for (weight, _), positive in zip(reversed(self._convs[:-1]), reversed(signs), strict=True):
            seen = weight.shape[1]
            new = total[:, seen:]
            total = _input_gradient(torch.where(positive, new, SLOPE * new), weight).add_(total[:, :seen])
        return total


def _input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient of a 3×3 convolution by its input: a convolution with the weights turned around."""
    layout = torch.channels_last if weight.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    turned = convolution.turn(weight).contiguous(memory_format=layout)
    return F.conv2d(gradient.contiguous(memory_format=layout), turned, padding=1)


@final
class InPlanes(FrozenBlock):
    """One picture on a CPU, plane by plane: a part of the channels is then one piece of memory.

    Nothing is concatenated: every convolution reads the first planes of one tensor and its result is written behind
    them. Gradients are summed into planes likewise. What was positive is kept as one bit per inner value.
    Each convolution is computed in the way that is fastest for its channels, see :mod:`hcd.nets.convolution`.
    """

    def __init__(self, convs: Convs) -> None:
        self._forward = [convolution.prepare(weight, bias) for weight, bias in convs]
        self._backward = [convolution.prepare(convolution.turn(weight), None) for weight, _ in convs]

    def forward(self, x: Tensor, signs: list[Tensor] | None) -> Tensor:
        count, channels, height, width = x.shape
        last = self._forward[-1]
        planes = x.new_empty((count, last.inputs, height, width))
        planes[:, :channels] = x
        for conv in self._forward[:-1]:
            new = F.leaky_relu_(conv(planes[:, : conv.inputs]), SLOPE)
            if signs is not None:
                signs.append(_pack(new > 0))
            planes[:, conv.inputs : conv.inputs + conv.outputs] = new
        return last(planes)

    def backward(self, gradient: Tensor, signs: Sequence[Tensor]) -> Tensor:
        total = self._backward[-1](gradient.contiguous())
        for conv, packed in zip(reversed(self._backward[:-1]), reversed(signs), strict=True):
            seen = conv.outputs
            new = total[:, seen:]
            positive = _unpack(packed, new.shape)
            # By the slope, and where it was positive by 1/slope times as much more.
            new = torch.addcmul(new, new, positive.to(new.dtype), value=1 / SLOPE - 1).mul_(SLOPE)
            total = total[:, :seen].add_(conv(new))
        return total


def _pack(positive: Tensor) -> Tensor:
    """A bit per truth value."""
    if positive.is_meta:
        return positive.new_empty(-(-positive.numel() // 8), dtype=torch.uint8)
    return torch.from_numpy(np.packbits(positive.numpy().reshape(-1)))


def _unpack(packed: Tensor, shape: torch.Size) -> Tensor:
    """The truth values as 0 and 1."""
    if packed.is_meta:
        return packed.new_empty(shape)
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=shape.numel())).view(shape)


_KNOWN: weakref.WeakKeyDictionary[nn.Module, tuple[object, FrozenBlock]] = weakref.WeakKeyDictionary()


def _state(convs: Convs) -> object | None:
    """What changes when a weight does; None for weights made in inference mode, whose changes leave no trace."""
    tensors = [tensor for pair in convs for tensor in pair]
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
