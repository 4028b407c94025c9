"""The rows that a page and its CSV files are made of."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
import scipy.stats

from hcd_lab.report.results import Label, ResultTable

LABEL = Label(chapter="test", model="m", dataset="Set5", variant="paper, ε=0.3")


def parse(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-17, -3.0, math.inf, -math.inf, math.nan, 12345678.901])
def test_csv_gives_back_the_very_number(value):
    table = ResultTable()
    entry = table.add(LABEL, "psnr_y", value, "dB")
    (row,) = parse(table.csv())
    np.testing.assert_equal(float(row.pop("value")), value)
    assert row == {
        **{"id": entry.id, "chapter": "test", "model": "m", "dataset": "Set5", "picture": ""},
        **{"variant": "paper, ε=0.3", "metric": "psnr_y", "unit": "dB"},
    }


def test_the_same_numbers_are_the_same_text():
    texts = set()
    for _ in range(2):
        table = ResultTable()
        table.add_mean(LABEL, "psnr_y", [1 / 3, 2 / 3], "dB")
        table.add_interval(LABEL, "gain", [0.1, 0.25, 0.3], "dB")
        texts.add(table.csv())
    assert len(texts) == 1


def test_times_are_kept_apart_and_ids_are_unique():
    table = ResultTable()
    entries = [
        table.add(LABEL, "psnr_y", 30.0, "dB"),
        table.add(LABEL, "seconds", 1.5, "s", of_machine=True),
        table.add_mean(LABEL, "seconds", [1.5], "s", of_machine=True),
        *table.add_interval(LABEL, "gain", [0.1, 0.2], "dB"),
    ]
    assert [entry.id for entry in entries] == ["q1", "t1", "t2", "q2", "q3"]
    assert [row["id"] for row in parse(table.csv())] == ["q1", "q2", "q3"]
    assert [row["id"] for row in parse(table.csv(of_machine=True))] == ["t1", "t2"]
    assert table.rows() == [entries[0], *entries[3:]]


def test_an_added_time_changes_no_figure():
    """Otherwise ``metrics.csv`` would not be the same where a machine measures one time more."""
    texts = []
    for times in (0, 3):
        table = ResultTable()
        for _ in range(times):
            table.add(LABEL, "seconds", 1.0, "s", of_machine=True)
        table.add(LABEL, "psnr_y", 30.0, "dB")
        texts.append(table.csv())
    assert texts[0] == texts[1]


def test_mean():
    table = ResultTable()
    mean = table.add_mean(LABEL, "psnr_y", [1.0, 2.0, 6.0])
    assert (mean.picture, mean.value) == ("mean", 3.0)
    assert math.isnan(table.add_mean(LABEL, "psnr_y", []).value)
    assert table.add_mean(LABEL, "lr_psnr", [math.inf, 30.0]).value == math.inf
    assert math.isnan(table.add_mean(LABEL, "gain", [math.inf, -math.inf]).value)


class TestInterval:
    def test_known_value(self):
        """Student's t for 4 degrees of freedom is 2.776445; the standard error of 1…5 is √2.5/√5."""
        mean, half = ResultTable().add_interval(LABEL, "gain", [1.0, 2.0, 3.0, 4.0, 5.0])
        assert mean.value == 3.0
        assert half.value == pytest.approx(2.776445 * math.sqrt(0.5), rel=1e-6)
        assert half.metric == "gain_half_width_95"

    def test_agrees_with_scipy(self):
        differences = [0.31, 0.42, 0.11, 0.57, 0.29, -0.05, 0.38]
        mean, half = ResultTable().add_interval(LABEL, "gain", differences)
        low, high = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert (mean.value - half.value, mean.value + half.value) == pytest.approx((low, high), rel=1e-9)

    def test_equal_differences_have_no_width(self):
        assert ResultTable().add_interval(LABEL, "gain", [0.0, 0.0, 0.0])[1].value == 0.0

    @pytest.mark.parametrize("differences", [[], [0.3], [0.3, math.nan], [math.inf, 0.1]])
    def test_where_there_is_none(self, differences):
        assert math.isnan(ResultTable().add_interval(LABEL, "gain", differences)[1].value)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (31.256, ".2f", "31.26"),
        (0.5, "+.2f", "+0.50"),
        (-0.93, "+.2f", "−0.93"),
        (math.nan, ".2f", "–"),
        (math.inf, ".2f", "∞"),
        (-math.inf, "+.2f", "−∞"),
        (5.0, ".0f", "5"),
    ],
)
def test_as_a_page_shows_it(value, form, text):
    number = ResultTable().add(LABEL, "figure", value).shown(form)
    assert (number.text, number.row) == (text, "q1")
