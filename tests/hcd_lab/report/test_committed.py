"""The report in the documents: its numbers are those of its files, and the README's are its own."""

from __future__ import annotations

import re
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


def test_the_readme_shows_figures_that_are_there():
    shown = re.findall(r"\((docs/report/figures/[^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert len(shown) == 2
    for name in shown:
        assert (ROOT / name).read_text("utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("text", "model", "variant", "figure"),
    [
        ("+0.51 ± 0.18", "irn-x4-small", "paper", "gain_over_plain"),
        ("+0.53 ± 0.23", "irn-x2-small", "paper", "gain_over_plain"),
        ("+0.61 ± 0.20", "irn-x4-small", "balanced", "gain_over_plain"),
        ("+0.73 ± 0.31", "irn-x2-small", "balanced", "gain_over_plain"),
    ],
)
def test_the_readme_quotes_it(text, model, variant, figure):
    assert text in (ROOT / "README.md").read_text("utf-8")
    mean, half = (
        float(re.search(rf"quantitative,{model},Set5,mean,{variant},{name},dB,(.+)$", _figures(), re.MULTILINE)[1])
        for name in (figure, f"{figure}_half_width_95")
    )
    assert f"{mean:+.2f} ± {half:.2f}" == text


def _figures():
    return (REPORT / "figures.csv").read_text("utf-8")
