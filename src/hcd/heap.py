"""Control glibc's malloc: keep freed memory in the process, or trim the heap."""

from __future__ import annotations

import contextlib
import ctypes
import os

# From malloc.h: free bytes at the end of the heap above which it is trimmed; number of blocks mapped one by one.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_CONFIGURES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")

_keeps = False


def keep_freed() -> bool:
    """Keep the memory that this process frees from now on; return whether it is kept.

    Large blocks then come from the heap. Otherwise each is mapped by itself, and the system clears its pages anew
    (docs/notes/0021). A heap takes more memory, since it fragments. This is for programs to decide, not for libraries.
    Only glibc can do it. Where environment variables configure malloc, nothing is changed.
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
