"""Fixtures that the image tests share."""

from __future__ import annotations

import pytest
from PIL import ImageCms


@pytest.fixture(scope="session")
def icc() -> bytes:
    """A real color profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
