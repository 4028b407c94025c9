"""Whether the C library of this machine can keep freed memory."""

from __future__ import annotations

import ctypes
import sys

import pytest

ON_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
needs_glibc = pytest.mark.skipif(not ON_GLIBC, reason="only glibc keeps freed memory")
