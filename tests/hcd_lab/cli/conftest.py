"""The fixtures of the commands' tests."""

from tests.cli.conftest import hcd  # noqa: F401 - a fixture
