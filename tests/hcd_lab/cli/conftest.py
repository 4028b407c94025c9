"""The fixtures of the commands' tests."""

from tests.cli.conftest import hcd, photo_file  # noqa: F401 - fixtures
