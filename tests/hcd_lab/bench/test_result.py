"""The one result of all benchmarks."""

from __future__ import annotations

import pytest

from hcd.errors import UsageError
from hcd_lab.bench import BenchResult
from hcd_lab.bench.result import ratio

RESULT = BenchResult(
    benchmark="solver",
    machine={"threads": 2},
    rows=[{"model": "a", "gain": 1.0}, {"model": "b", "gain": None}, {"model": "a", "gain": 3.0}],
    failed=["broken.png: no reason"],
)


def test_rows_are_selected_by_their_fields():
    assert [row["gain"] for row in RESULT.select(model="a")] == [1.0, 3.0]
    assert RESULT.values("model") == ["a", "b"]


def test_a_ratio_needs_both():
    assert ratio(6.0, 2.0) == 3.0
    assert ratio(None, 2.0) is ratio(6.0, None) is None


def test_results_of_several_runs_are_joined():
    joined = BenchResult.joined([RESULT.as_json()] * 2, benchmark="solver", fields=("model", "gain"))
    assert joined.rows == [*RESULT.rows, *RESULT.rows]
    assert joined.failed == [*RESULT.failed, *RESULT.failed]


@pytest.mark.parametrize("value", [3, {}, {"rows": [{"picture": 3}], "failed": []}, RESULT.as_json()])
def test_other_json_is_refused(value):
    with pytest.raises(UsageError, match="not a result of 'hcd bench solver'"):
        BenchResult.joined([value], benchmark="solver", fields=("model", "curve"))
