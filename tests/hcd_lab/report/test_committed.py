"""The report in the documents: its numbers are those of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcd_lab.report import read_config
from tests.hcd_lab.report.pages import Page, assert_shows, values_of

ROOT = Path(__file__).parents[3]
REPORT = ROOT / "docs" / "report"


@pytest.fixture(scope="module")
def page():
    return Page((REPORT / "index.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def values():
    return values_of(*((REPORT / name).read_text("utf-8") for name in ("figures.csv", "timings.csv")))


def test_every_number_is_in_a_row(page, values):
    assert len(page.numbers) > 500
    for row, text in page.numbers:
        assert_shows(text, values[row])


def test_its_configuration_is_the_one_that_it_names(page):
    assert read_config(REPORT / "report.toml").hash in page.text


def test_it_needs_nothing_else(page):
    for tag, name, value in page.addresses:
        assert value.startswith(("data:", "#")) or (tag, name) == ("a", "href"), value
