import pytest

from hcd_lab.report.blocks import Table
from hcd_lab.report.chapters.direction import Direction
from hcd_lab.report.results import ResultTable
from tests.hcd_lab.report.chapters.conftest import only


@pytest.mark.slow
def test_both_directions_of_a_picture(bench_of_one):
    results = ResultTable()
    blocks = Direction().blocks(bench_of_one.session, results)

    (table,) = [block for block in blocks if isinstance(block, Table)]
    for column, direction in ((1, "adversarial"), (2, "collaborative")):
        gain = bench_of_one.gain("paper", direction=direction)
        entries = [
            only(results, f"paper direction={direction}", "gain_over_plain", picture) for picture in ("waves", "mean")
        ]
        assert [entry.value for entry in entries] == pytest.approx([gain, gain], abs=1e-9)
        assert [row[column].row for row in table.rows[:2]] == [entry.id for entry in entries]
    assert [row[0] for row in table.rows] == ["tiny-irn-x2, waves", "tiny-irn-x2, mean", "published, one example"]
    assert [cell.text for cell in table.rows[-1][1:]] == ["−0.93", "+1.29"]
