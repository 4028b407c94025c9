"""The front door: names and errors. The floors themselves are contracts of import-linter."""

from __future__ import annotations

import pytest

import hcd
import hcd.pipeline
from hcd import errors


class TestFrontDoor:
    @pytest.mark.parametrize("package", [hcd, hcd.pipeline], ids=lambda package: package.__name__)
    def test_hands_on_every_public_name(self, package):
        assert package.__all__
        for name in package.__all__:
            assert getattr(package, name) is not None
        assert set(package.__all__) <= set(dir(package))

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
