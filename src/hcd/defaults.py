"""What the command line and the library do where nothing else is asked for."""

from __future__ import annotations

from typing import Final

MODEL: Final = "light-x4"
"""The model that serves most machines best: its weights are part of ``hcd``, and a CPU runs it in seconds."""
