import math

import pytest

from hcd.collab import collaborate
from hcd_lab.report.blocks import Table
from hcd_lab.report.chapters.rules import Rules, gains_in_loop
from hcd_lab.report.result_table import ResultTable
from tests.hcd_lab.report.chapters.conftest import only


@pytest.mark.parametrize("rule", ["gradient", "adam"])
def test_best_so_far_of_the_loop(bench, rule):
    table = ResultTable()
    Rules().blocks(bench.session, table)

    model = bench.session.models[0]
    results = [collaborate(subject.read(), model, "balanced", rule=rule, steps_lr=6) for subject in bench.session.study]
    for step in (1, 3, 6):
        # Independently of the history's first point: that of the plain LR picture.
        gains = [
            max(entry.psnr for entry in result.history if entry.step <= step) - result.plain_psnr[0]
            for result in results
        ]
        entry = only(table, f"{rule}, {step} evaluations", "gain_in_loop")
        assert entry.value == pytest.approx(sum(gains) / 2, abs=0.02)  # the receiver rounds, the loop does not
    told = only(table, f"balanced rule={rule} steps_lr=6", "gain_over_plain")
    assert told.value == pytest.approx(bench.gain("balanced", rule=rule, steps_lr=6), abs=1e-9)


def test_curvature_products_and_nan_are_no_progress():
    history = [["lr", step, 0.0, psnr, 0.0] for step, psnr in ((1, 30.0), (3, 31.0), (4, math.nan), (5, 30.5))]

    assert gains_in_loop({"history": history}, 6) == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


def test_the_rule_with_the_largest_gain_has_reached_it(bench):
    blocks = Rules().blocks(bench.session, ResultTable())

    (table,) = [block for block in blocks if isinstance(block, Table)]
    best = max(table.rows, key=lambda row: float(row[1].text.replace("−", "-")))
    assert 1 < int(best[2].text) <= 6
