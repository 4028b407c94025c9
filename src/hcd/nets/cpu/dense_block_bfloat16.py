"""Frozen dense blocks in bfloat16: half of the bytes and twice the multiplications, for gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from hcd.nets.cpu import activation_mask, convolution
from hcd.nets.cpu.dense_block import SLOPE, Convs, FrozenBlock

_HALF, _LAYOUT = torch.bfloat16, torch.channels_last
_FEW_OUTPUTS = 4


@final
class InBfloat16(FrozenBlock):
    """One picture on a CPU, pixel by pixel, which direct convolution in bfloat16 is fastest in; sums are float32.

    Takes and gives float32. Results are off by some thousandths of their size, gradients by some hundredths, most of
    it where a value near zero has another sign.
    """

    def __init__(self, convs: Convs) -> None:
        # What other convolutions read stays as it is laid out; the one that comes last in either direction may not.
        flipped = [convolution.flip_weights(weight) for weight, _ in convs]
        self._forward = [*(_Half(*conv) for conv in convs[:-1]), _prepare_last(*convs[-1])]
        self._backward = [_prepare_last(flipped[0], None), *(_Half(weight, None) for weight in flipped[1:])]

    def allocate_saved(self, x: Tensor) -> list[Tensor]:
        return activation_mask.allocate_saved(x, [conv.outputs for conv in self._forward[:-1]])

    def forward(self, x: Tensor, kept: list[Tensor] | None) -> Tensor:
        x = x.to(_HALF, memory_format=_LAYOUT)
        for i, conv in enumerate(self._forward[:-1]):
            new = F.leaky_relu_(conv(x), SLOPE)
            if kept is not None:
                activation_mask.pack(new, kept[i])
            x = torch.cat([x, new], dim=1)
        return _planes(self._forward[-1](x))

    def backward(self, gradient: Tensor, kept: Sequence[Tensor]) -> Tensor:
        total = self._backward[-1](gradient.to(_HALF, memory_format=_LAYOUT))
        for conv, packed in zip(reversed(self._backward[:-1]), reversed(kept), strict=True):
            # Slices are copied first: adding and multiplying what lies apart is slow in bfloat16.
            before = total[:, : conv.outputs].contiguous(memory_format=_LAYOUT)
            new = total[:, conv.outputs :].contiguous(memory_format=_LAYOUT)
            total = conv(activation_mask.leaky_relu_backward(packed, new, SLOPE)).add_(before)
        return _planes(total)


class _Half:
    """A convolution of pictures in bfloat16 laid out pixel by pixel."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs = len(weight)
        self._weight = weight.to(_HALF, memory_format=_LAYOUT)
        self._bias = None if bias is None else bias.to(_HALF)

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._weight, self._bias, padding=1)


class _FewOutputs:
    """The same by one matrix product, added up in float32; gives planes."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs = len(weight)
        self._taps = convolution.taps(weight).to(_HALF)
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pixels = x.permute(0, 2, 3, 1).reshape(height * width, -1)
        return convolution.add_taps(torch.mm(self._taps, pixels.t()).float(), height, width, self._bias)


def _prepare_last(weight: Tensor, bias: Tensor | None) -> _Half | _FewOutputs:
    return _FewOutputs(weight, bias) if len(weight) <= _FEW_OUTPUTS else _Half(weight, bias)


def _planes(x: Tensor) -> Tensor:
    return x.to(torch.float32, memory_format=torch.contiguous_format)
