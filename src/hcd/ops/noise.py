"""Gaussian noise that is bit-identical on every device and in every language."""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_TERMS = 12


def gaussian_field(seed: int, channels: int, height: int, width: int, *, top: int = 0, left: int = 0) -> Tensor:
    """Return normal noise that depends on seed and position only, so that a tile equals the crop of the whole.

    Every value is a sum of twelve 16-bit uniform integers, centered and divided by 2**16 (Irwin–Hall:
    mean 0, variance 1 within 2e-9, support ±6). The uniforms are halves of a 32-bit hash of a counter.
    Only integer arithmetic modulo 2**32 and one exact division are used, hence the same values on CPU,
    GPU and in a browser (``Math.imul``).

    Args:
        seed: 0 ≤ seed < 2**32.
        channels, height, width: size of the field.
        top, left: position of its first row and column in the whole, ≥ 0.

    Returns:
        float32 ``[channels, height, width]`` on the CPU.

    Source: the mixing function is "lowbias32" (C. Wellons, "Prospecting for hash functions", 2018).
    """
    channel = _mix(torch.arange(channels, dtype=torch.int64) + _mix(torch.tensor(seed)))
    row = _mix(channel[:, None] + torch.arange(top, top + height))
    position = _mix(row[..., None] + torch.arange(left, left + width))
    total = torch.zeros_like(position)
    for term in range(_TERMS // 2):
        bits = _mix(position + term)
        total += (bits >> 16) + (bits & 0xFFFF)
    # Each uniform has the mean (2**16 - 1) / 2: twelve of them, in integers.
    centered = total - _TERMS // 2 * 0xFFFF
    return centered.float() / 65536


def _mix(x: Tensor) -> Tensor:
    """lowbias32 on int64 tensors holding 32-bit values; products wrap modulo 2**64 and keep their low half."""
    x = x & _MASK
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
