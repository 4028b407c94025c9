"""Dense blocks in training, in bfloat16 on a CPU: forward and backward of a whole block as one step of autograd.

Autograd would run every convolution, concatenation and sum by itself, and copy strided slices in between. Here the
gradient is a dense block run backwards: the gradient of one convolution's outputs comes from all later convolutions at
once, as one convolution of their concatenated gradients, so that nothing is sliced and added.
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

_TYPE, _LAYOUT = torch.bfloat16, torch.channels_last
_FEW_OUTPUTS = 4


def trains_in_bfloat16(convs: Convs, x: Tensor) -> bool:
    """Return whether a block has trainable weights, and autocast asks for bfloat16 on a processor that has it."""
    return (
        x.device.type == "cpu"
        and not is_transformed()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == _TYPE
        and x.dtype in (torch.float32, _TYPE)
        and torch.is_grad_enabled()
        and has_bfloat16()
        and any(tensor.requires_grad for pair in convs for tensor in pair)
    )


def run_trained(convs: Convs, x: Tensor) -> Tensor:
    """Return the result of a block in float32, differentiable once with respect to weights, biases and ``x``.

    Inputs and outputs of convolutions are rounded to bfloat16, as under autocast. Sums inside are float32, except that
    with few outputs the nine taps are rounded before they are added.

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
        inputs = [x.to(_TYPE, memory_format=_LAYOUT)]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            new = F.leaky_relu_(_convolve(inputs[-1], weight, bias.to(_TYPE)), SLOPE)
            inputs.append(torch.cat([inputs[-1], new], dim=1))
        y = _convolve_last(inputs[-1], weights[-1], biases[-1])
        ctx.count = len(inputs)
        ctx.save_for_backward(*inputs, *weights)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # Checkpointing allows saved tensors to be unpacked only once.
        saved = ctx.saved_tensors
        inputs, weights = saved[: ctx.count], saved[ctx.count :]
        # Gradients of the outputs of the convolutions from here to the last, concatenated.
        gradients = gradient.to(_TYPE, memory_format=_LAYOUT)
        by_convs = [(_weight_gradient(inputs[-1], gradients, weights[-1]), gradient.sum((0, 2, 3)))]
        for i in reversed(range(len(weights) - 1)):
            first, end = weights[i].shape[1], weights[i + 1].shape[1]
            incoming = _convolve(gradients, _flipped(weights[i + 1 :], first, end), None)
            outputs = inputs[i + 1][:, first:end].contiguous(memory_format=_LAYOUT)
            new = torch.ops.aten.leaky_relu_backward(incoming, outputs, SLOPE, True)
            by_convs.append((_weight_gradient(inputs[i], new, weights[i]), new.float().sum((0, 2, 3))))
            gradients = torch.cat([new, gradients], dim=1)
        by_input = None
        if ctx.needs_input_grad[0]:
            by_input = _convolve_last(gradients, _flipped(weights, 0, weights[0].shape[1]), None)
        return by_input, *chain.from_iterable(reversed(by_convs))


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight.to(_TYPE, memory_format=_LAYOUT), bias, padding=1)


def _convolve_last(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve and return float32; few outputs by one matrix product, since direct convolution computes sixteen."""
    if len(weight) > _FEW_OUTPUTS:
        return _convolve(x, weight, None if bias is None else bias.to(_TYPE)).float()
    count, _, height, width = x.shape
    taps = convolution.taps(weight).to(_TYPE)
    products = torch.mm(taps, _pixels(x).t()).view(len(taps), count, height * width).transpose(0, 1)
    y = F.fold(products.float(), (height, width), 3, padding=1)
    return y if bias is None else y.add_(bias[:, None, None])


def _flipped(weights: Sequence[Tensor], first: int, end: int) -> Tensor:
    """Return the weights of the convolution from all their outputs back to a range of their inputs."""
    return convolution.flip_weights(torch.cat([weight[:, first:end] for weight in weights]))


def _weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    if len(weight) > _FEW_OUTPUTS:
        result: Tensor = torch.ops.aten.convolution_backward(
            gradient, x, weight.to(_TYPE, memory_format=_LAYOUT), None,
            (1, 1), (1, 1), (1, 1), False, (0, 0), 1, (False, True, False),
        )[1]  # fmt: skip
        return result.float()
    # One product of the pixels with the gradient at their nine neighbors.
    around = F.unfold(gradient.float(), 3, padding=1).to(_TYPE).transpose(0, 1).flatten(1)
    by_tap = torch.mm(around, _pixels(x)).float().view(len(weight), 3, 3, -1)
    return by_tap.flip(1, 2).permute(0, 3, 1, 2)


def _pixels(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
