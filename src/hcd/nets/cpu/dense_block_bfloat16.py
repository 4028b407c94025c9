"""A kernel for dense blocks with frozen weights in bfloat16: half the bytes and twice the multiplication rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.nets.cpu import activation_mask, convolution
from hcd.nets.cpu.dense_block import SLOPE, Convs
from hcd.nets.cpu.kernel import Kernel

_TYPE, _LAYOUT = torch.bfloat16, torch.channels_last
_FEW_OUTPUTS = 4


@final
class Bfloat16DenseBlock(Kernel):
    """One picture on a CPU in channels-last, in which direct bfloat16 convolution is fastest; sums are float32.

    Takes and returns float32. Results are off by some thousandths of their size, gradients by some hundredths, mostly
    where a value near zero changed its sign.
    """

    def __init__(self, convs: Convs) -> None:
        # The last convolution of either direction may be a matrix product: no other convolution reads its result.
        flipped = [convolution.flip_weights(weight) for weight, _ in convs]
        self._forward = [*(_Direct(*conv) for conv in convs[:-1]), _prepare_last(*convs[-1])]
        self._backward = [_prepare_last(flipped[0], None), *(_Direct(weight, None) for weight in flipped[1:])]

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        return activation_mask.allocate_saved(x, [conv.outputs for conv in self._forward[:-1]])

    def forward(self, x: Tensor, saved: list[Tensor] | None) -> Tensor:
        x = x.to(_TYPE, memory_format=_LAYOUT)
        for i, conv in enumerate(self._forward[:-1]):
            new = F.leaky_relu_(conv(x), SLOPE)
            if saved is not None:
                activation_mask.pack(new, saved[i])
            x = torch.cat([x, new], dim=1)
        return _to_float32_nchw(self._forward[-1](x))

    def backward(self, gradient: Tensor, saved: Sequence[Tensor]) -> Tensor:
        total = self._backward[-1](gradient.to(_TYPE, memory_format=_LAYOUT))
        for conv, mask in zip(reversed(self._backward[:-1]), reversed(saved), strict=True):
            # Copied first: arithmetic on strided slices is slow in bfloat16.
            before = total[:, : conv.outputs].contiguous(memory_format=_LAYOUT)
            new = total[:, conv.outputs :].contiguous(memory_format=_LAYOUT)
            total = conv(activation_mask.leaky_relu_backward(mask, new, SLOPE)).add_(before)
        return _to_float32_nchw(total)


class _Direct:
    """Direct convolution in bfloat16, channels-last."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs = len(weight)
        self._weight = weight.to(_TYPE, memory_format=_LAYOUT)
        self._bias = None if bias is None else bias.to(_TYPE)

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._weight, self._bias, padding=1)


class _FewOutputs:
    """Convolution by one matrix product in bfloat16 whose taps are added in float32; channels-last → NCHW."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs = len(weight)
        self._taps = convolution.taps(weight).to(_TYPE)
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pixels = x.permute(0, 2, 3, 1).reshape(height * width, -1)
        return convolution.add_taps(torch.mm(self._taps, pixels.t()).float(), height, width, self._bias)


def _prepare_last(weight: Tensor, bias: Tensor | None) -> _Direct | _FewOutputs:
    return _FewOutputs(weight, bias) if len(weight) <= _FEW_OUTPUTS else _Direct(weight, bias)


def _to_float32_nchw(x: Tensor) -> Tensor:
    return x.to(torch.float32, memory_format=torch.contiguous_format)
