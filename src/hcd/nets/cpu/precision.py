"""The precision that gradients are computed in."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from hcd.errors import UsageError

PRECISIONS = ("auto", "float32", "bfloat16")

_BFLOAT16: ContextVar[bool] = ContextVar("bfloat16", default=False)


@contextmanager
def gradient_precision(precision: str) -> Iterator[None]:
    """Inside, passes through frozen dense blocks that a gradient is wanted of run in this precision, on a CPU.

    What is computed without a gradient stays in float32, so that figures remain those that a receiver reaches; so do
    pictures, couplings and sums, whatever the precision. Without such instructions (AVX-512 BF16) there would be
    nothing to gain: float32 stays.

    Args:
        precision: ``float32``; ``bfloat16``, 1.2 to 1.9 times as fast and 0.006 dB beside it (``docs/notes/0014``);
            or ``auto``, which is ``bfloat16``.

    Raises:
        UsageError: another precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': use one of {', '.join(PRECISIONS)}")
    token = _BFLOAT16.set(precision != "float32" and has_bfloat16())
    try:
        yield
    finally:
        _BFLOAT16.reset(token)


def wants_bfloat16() -> bool:
    """Whether this is inside of ``gradient_precision`` for bfloat16, on a machine that has it."""
    return _BFLOAT16.get()


@functools.cache
def has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 by itself and PyTorch's convolutions make use of it."""
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(asked is not None and asked() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
