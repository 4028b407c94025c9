"""What the C library does with freed memory: hand it to the system, or keep it for what is asked for next."""

from __future__ import annotations

import contextlib
import ctypes
import os

# Of malloc.h: how much may lie free at the end of the heap, and how many blocks may be mapped one by one.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_DECIDES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")

_keeps = False


def keep_freed() -> bool:
    """From now on, keep what this process frees; whether it does.

    Large blocks come from the heap then, not mapped one by one and cleared by the system each time
    (docs/notes/0021), which takes more memory, since a heap has holes. A program may ask for it, a library must not.
    Only glibc knows how. Where the environment says how it is to deal with memory, that stays.
    """
    global _keeps
    decided = any(name in os.environ for name in _DECIDES) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    if not _keeps and not decided:
        with contextlib.suppress(OSError, AttributeError, TypeError):
            mallopt = ctypes.CDLL(None).mallopt
            _keeps = mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, -1) == 1
    return _keeps


def keeps_freed() -> bool:
    """Whether this process was told to keep what it frees."""
    return _keeps


def give_back() -> None:
    """Hand the system what is free now, lest it be counted as taken; where the C library knows how."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
