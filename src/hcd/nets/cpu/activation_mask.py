"""One bit per value: which ones were positive, all that a leaky ReLU's gradient needs to know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def allocate_saved(x: Tensor, channels: Sequence[int]) -> list[Tensor]:
    """Room for the bits of tensors with so many channels each and the pixels of ``x`` ``[1, _, H, W]``."""
    sizes = [-(-count * x.shape[-2] * x.shape[-1] // 8) for count in channels]
    return list(torch.split(x.new_empty(sum(sizes), dtype=torch.uint8), sizes))


def pack(x: Tensor, bits: Tensor) -> None:
    """Fill ``bits`` with those of ``[1, C, H, W]`` on a CPU, float32 or bfloat16, in the order it has in memory."""
    if not x.is_meta:
        # NumPy has no bfloat16; as an integer of that many bits, a float has the same sign.
        integers = x.view(torch.int16 if x.dtype == torch.bfloat16 else torch.int32)
        bits.numpy()[:] = np.packbits(_in_memory(integers).numpy() > 0)


def leaky_relu_backward(packed: Tensor, gradient: Tensor, slope: float) -> Tensor:
    """The gradient before a leaky ReLU from that after it, which must lie in memory as the packed values did."""
    if gradient.is_meta:
        return torch.empty_like(gradient)
    positive = torch.empty_like(gradient)
    _in_memory(positive).copy_(torch.from_numpy(np.unpackbits(packed.numpy(), count=gradient.numel())))
    passed: Tensor = torch.ops.aten.leaky_relu_backward(gradient, positive, slope, False)
    return passed


def _in_memory(x: Tensor) -> Tensor:
    """The values one after the other, as they lie."""
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        x = x.permute(0, 2, 3, 1)
    return x.view(-1)
