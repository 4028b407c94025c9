"""docs/models.md: its example runs, and no model is missing."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from hcd.zoo import FAMILIES, model_entries

_PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_example_runs():
    done = doctest.testfile(str(_PAGE), module_relative=False, encoding="utf-8")
    assert done.attempted >= 6
    assert done.failed == 0


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_says_where_official_weights_are(family):
    assert family.source in _PAGE.read_text("utf-8")


def test_every_model_is_in_the_table():
    table = [line for line in _PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    for entry in model_entries():
        short = f"-x{entry.scale}"
        assert any(f"`{entry.name}`" in line or (entry.architecture in line and f"`{short}`" in line) for line in table)
