"""The front door, and what is loaded before it is needed. The floors themselves are contracts of import-linter."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hcd
from hcd import errors


@pytest.mark.parametrize("command", [["-c", "import hcd"], ["-m", "hcd", "--help"]], ids=["import", "help"])
def test_torch_and_the_laboratory_are_not_loaded_before_they_are_needed(command):
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hcd" in loaded
    assert not loaded & {"torch", "numpy", "hcd_lab"}


class TestFrontDoor:
    def test_hands_on_every_public_name(self):
        for name in hcd.__all__:
            assert getattr(hcd, name) is not None
        assert set(hcd.__all__) <= set(dir(hcd))

    def test_an_unknown_name_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="upscale"):
            hcd.upscale  # noqa: B018 - the access is the test

    @pytest.mark.parametrize(
        ("error", "builtin"),
        [
            (errors.UsageError, ValueError),
            (errors.ShapeError, ValueError),
            (errors.ImageError, OSError),
            (errors.MetadataError, ValueError),
            (errors.ModelError, LookupError),
            (errors.WeightsError, ValueError),
            (errors.MissingDependencyError, ImportError),
            (errors.TrainingError, RuntimeError),
        ],
    )
    def test_errors_are_the_built_in_ones_too(self, error, builtin):
        assert issubclass(error, hcd.HcdError)
        assert issubclass(error, builtin)
