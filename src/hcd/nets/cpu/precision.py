"""The precision in which gradients are computed."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from hcd.errors import UsageError

PRECISIONS = ("auto", "float32", "bfloat16")

# A context variable: the sender chooses the precision, and the networks in between need not pass it on.
_BFLOAT16: ContextVar[bool] = ContextVar("bfloat16", default=False)


@contextmanager
def gradient_precision(precision: str) -> Iterator[None]:
    """Run frozen dense blocks in this precision inside the context, on a CPU and where a gradient is needed.

    Passes without a gradient stay in float32, so that metrics are those of a receiver; so do pictures, couplings and
    sums. On a processor without bfloat16 instructions (AVX-512 BF16), which would gain nothing, all stays in float32.

    Args:
        precision: ``float32``; ``bfloat16``, 1.2 to 1.9 times as fast and within 0.006 dB (``docs/notes/0014``); or
            ``auto``, which is ``bfloat16``.

    Raises:
        UsageError: unknown precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': use one of {', '.join(PRECISIONS)}")
    token = _BFLOAT16.set(precision != "float32" and has_bfloat16())
    try:
        yield
    finally:
        _BFLOAT16.reset(token)


def wants_bfloat16() -> bool:
    """Return whether ``gradient_precision`` asks for bfloat16 here, on a processor that has it."""
    return _BFLOAT16.get()


@functools.cache
def has_bfloat16() -> bool:
    """Return whether this processor has bfloat16 instructions and PyTorch's convolutions use them."""
    # Private: a version without either of them runs in float32.
    processor = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    convolutions = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(processor is not None and processor() and convolutions is not None and convolutions())
