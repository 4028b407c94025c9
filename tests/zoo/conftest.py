"""Fixtures of the zoo's tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def upscalers_folder(benchmarks_folder: Path) -> Path:
    """The folder of official weights of upscalers, beside that of the data."""
    folder = benchmarks_folder.parent.parent / "upscalers"
    if not folder.is_dir():
        pytest.skip(f"weights of upscalers not found: {folder} is no folder")
    return folder
