"""Control glibc's malloc: keep freed memory in the process, or trim the heap."""

from __future__ import annotations

import contextlib
import ctypes
import os

# From malloc.h: free bytes at the end of the heap above which it is trimmed; maximum number of mapped blocks.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_CONFIGURES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")

_keeps = False


def keep_freed() -> bool:
    """Keep the memory that this process frees from now on; return whether it is kept.

    Large blocks then come from the heap. By default glibc maps each large block separately, and the kernel zeroes its
    pages every time (docs/notes/0021). Fragmentation of the heap costs memory in return, so a program should decide
    this, not a library. Only glibc supports it. Nothing changes where environment variables configure malloc.
    """
    global _keeps
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    configured = "glibc.malloc." in tunables or any(name in os.environ for name in _CONFIGURES)
    if not _keeps and not configured:
        with contextlib.suppress(OSError, AttributeError, TypeError):
            mallopt = ctypes.CDLL(None).mallopt
            _keeps = mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, -1) == 1
    return _keeps


def keeps_freed() -> bool:
    """Return whether freed memory is kept."""
    return _keeps


def give_back() -> None:
    """Trim the heap: return free memory to the system, if the C library can."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
