"""Defaults that the command line and the library share."""

from __future__ import annotations

from typing import Final

MODEL: Final = "light-x4"
"""Default model: its weights ship with ``hcd``, and it takes seconds on a CPU."""
