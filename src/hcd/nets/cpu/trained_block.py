"""Dense blocks whose weights are trained, in bfloat16 on a CPU: both passes of a whole block as one step of autograd.

Autograd would take every convolution, concatenation and sum by itself, and copy what lies apart in between. Here the
gradient is a dense block run backwards: what reaches the outputs of a convolution comes from all later ones at once, as
one convolution of their gradients side by side, so that nothing is sliced and added.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hcd.nets.cpu import convolution
from hcd.nets.cpu.dense_block import SLOPE, Convs
from hcd.nets.cpu.dispatch import is_transformed
from hcd.nets.cpu.precision import has_bfloat16

_HALF, _LAYOUT = torch.bfloat16, torch.channels_last
_FEW_OUTPUTS = 4


def trains_in_bfloat16(convs: Convs, x: Tensor) -> bool:
    """Whether weights of a block train, and autocast asks for bfloat16 on a processor that has it."""
    return (
        x.device.type == "cpu"
        and not is_transformed(x)
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == _HALF
        and x.dtype in (torch.float32, _HALF)
        and torch.is_grad_enabled()
        and has_bfloat16()
        and any(tensor.requires_grad for pair in convs for tensor in pair)
    )


def run_trained(convs: Convs, x: Tensor) -> Tensor:
    """The result of a block, float32, with gradients for its weights, its biases and ``x``; differentiable once.

    What convolutions read and give is rounded to bfloat16, as under autocast; within them, sums are float32, but for
    few outputs, whose nine taps are rounded before they are added.

    Args:
        convs: each sees the input and all results before it, and all but the last are followed by a leaky ReLU.
        x: ``[N, in, H, W]``.
    """
    result: Tensor = _Trained.apply(x, *chain.from_iterable(convs))  # type: ignore[no-untyped-call]
    return result


class _Trained(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *convs: Tensor) -> Tensor:
        weights, biases = convs[::2], convs[1::2]
        seen = [x.to(_HALF, memory_format=_LAYOUT)]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            new = F.leaky_relu_(_convolve(seen[-1], weight, bias.to(_HALF)), SLOPE)
            seen.append(torch.cat([seen[-1], new], dim=1))
        y = _convolve_last(seen[-1], weights[-1], biases[-1])
        ctx.count = len(seen)
        ctx.save_for_backward(*seen, *weights)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # Unpacked once, which is all that checkpointing around this allows.
        saved = ctx.saved_tensors
        seen, weights = saved[: ctx.count], saved[ctx.count :]
        # Of the outputs of the convolutions so far, the first one's in front.
        gradients = gradient.to(_HALF, memory_format=_LAYOUT)
        found = [(_weight_gradient(seen[-1], gradients, weights[-1]), gradient.sum((0, 2, 3)))]
        for i in reversed(range(len(weights) - 1)):
            first, end = weights[i].shape[1], weights[i + 1].shape[1]
            reached = _convolve(gradients, _turned(weights[i + 1 :], first, end), None)
            outputs = seen[i + 1][:, first:end].contiguous(memory_format=_LAYOUT)
            new = torch.ops.aten.leaky_relu_backward(reached, outputs, SLOPE, True)
            found.append((_weight_gradient(seen[i], new, weights[i]), new.float().sum((0, 2, 3))))
            gradients = torch.cat([new, gradients], dim=1)
        by_input = None
        if ctx.needs_input_grad[0]:
            by_input = _convolve_last(gradients, _turned(weights, 0, weights[0].shape[1]), None)
        return by_input, *chain.from_iterable(reversed(found))


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight.to(_HALF, memory_format=_LAYOUT), bias, padding=1)


def _convolve_last(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same, in float32; few outputs by one matrix product, where direct convolution computes sixteen."""
    if len(weight) > _FEW_OUTPUTS:
        return _convolve(x, weight, None if bias is None else bias.to(_HALF)).float()
    count, _, height, width = x.shape
    taps = convolution.taps(weight).to(_HALF)
    products = torch.mm(taps, _pixels(x).t()).view(len(taps), count, height * width).transpose(0, 1)
    y = F.fold(products.float(), (height, width), 3, padding=1)
    return y if bias is None else y.add_(bias[:, None, None])


def _turned(weights: Sequence[Tensor], first: int, end: int) -> Tensor:
    """Of the convolution from all their outputs back to a range of their inputs."""
    return convolution.flip_weights(torch.cat([weight[:, first:end] for weight in weights]))


def _weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    if len(weight) > _FEW_OUTPUTS:
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient, x, weight.to(_HALF, memory_format=_LAYOUT), None,
            (1, 1), (1, 1), (1, 1), False, (0, 0), 1, (False, True, False),
        )[1]  # fmt: skip
        return found.float()
    # One product of the pixels with the gradient at their nine neighbors.
    around = F.unfold(gradient.float(), 3, padding=1).to(_HALF).transpose(0, 1).flatten(1)
    by_tap = torch.mm(around, _pixels(x)).float().view(len(weight), 3, 3, -1)
    return by_tap.flip(1, 2).permute(0, 3, 1, 2)


def _pixels(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
