"""Activation masks: one bit per value, set where it is positive, which is all that a leaky ReLU's gradient needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def allocate_saved(x: Tensor, channels: Sequence[int]) -> list[Tensor]:
    """Allocate the masks of tensors with these numbers of channels and the height and width of ``x`` ``[1, _, H, W]``.

    All of them share one allocation.
    """
    sizes = [-(-count * x.shape[-2] * x.shape[-1] // 8) for count in channels]
    return list(torch.split(x.new_empty(sum(sizes), dtype=torch.uint8), sizes))


def pack(x: Tensor, mask: Tensor) -> None:
    """Fill the mask of ``x`` ``[1, C, H, W]``, float32 or bfloat16 on a CPU, in memory order."""
    if not x.is_meta:
        # NumPy has no bfloat16; the integer of the same bits has the same sign.
        integers = x.view(torch.int16 if x.dtype == torch.bfloat16 else torch.int32)
        mask.numpy()[:] = np.packbits(_in_memory_order(integers).numpy() > 0)


def leaky_relu_backward(mask: Tensor, gradient: Tensor, slope: float) -> Tensor:
    """Return the gradient before a leaky ReLU, given that after it in the memory format of the packed values."""
    positive = torch.empty_like(gradient)
    if not mask.is_meta:
        bits = np.unpackbits(mask.numpy(), count=gradient.numel())
        _in_memory_order(positive).copy_(torch.from_numpy(bits))
    result: Tensor = torch.ops.aten.leaky_relu_backward(gradient, positive, slope, False)
    return result


def _in_memory_order(x: Tensor) -> Tensor:
    """View the values as a vector in memory order."""
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        x = x.permute(0, 2, 3, 1)
    return x.view(-1)
