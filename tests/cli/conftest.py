"""Fixtures that the command line tests share."""

from __future__ import annotations

import os

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hcd.cli.main import main


@pytest.fixture
def hcd():
    """``hcd("upscale", path, ...)`` runs the command in this process, standard output and error piped."""

    def run(*arguments):
        return CliRunner().invoke(main, [os.fspath(argument) for argument in arguments])

    return run


@pytest.fixture
def photo_file(tmp_path):
    """``photo_file("a.png", width=24, height=20)`` writes a small picture and returns its path."""

    def write(name="photo.png", *, width=24, height=20, seed=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, columns = np.mgrid[:height, :width]
        waves = np.stack([np.sin(rows / 3 + c + seed) * np.cos(columns / 4 - c) for c in range(3)], axis=-1)
        Image.fromarray((127 + 100 * waves).round().astype(np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def lr_file(tmp_path, hcd, photo_file):
    """An LR file whose original has 24×20 pixels, made by bicubic-x2."""
    path = tmp_path / "small" / "photo.lr.png"
    result = hcd("downscale", photo_file(), "-o", path, "--model", "bicubic-x2", "--preset", "plain")
    assert result.exit_code == 0, result.output
    return path
