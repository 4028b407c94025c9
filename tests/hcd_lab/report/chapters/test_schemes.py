from dataclasses import replace

import pytest

from hcd.errors import ImageError
from hcd_lab.report.blocks import Figure, Pair, Table
from hcd_lab.report.chapters.schemes import Schemes
from hcd_lab.report.results import ResultTable
from hcd_lab.report.session import Session
from tests.hcd_lab.report.chapters.conftest import only


def test_cells_are_gains_of_the_grid(bench):
    table = ResultTable()
    blocks = Schemes().blocks(bench.session, table)

    for scheme in ("paper", "balanced"):
        entry = only(table, f"{scheme} steps_hr=2 steps_lr=0", "gain_over_plain")
        assert entry.value == pytest.approx(bench.gain(scheme, steps_hr=2, steps_lr=0), abs=1e-9)
        assert only(table, f"{scheme} steps_hr=0 steps_lr=0", "gain_over_plain").value == 0
    tables = [block for block in blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [2, 2]
    cell = tables[1].rows[1][1]
    assert isinstance(cell, Pair)
    assert cell.first.row == only(table, "balanced steps_hr=2 steps_lr=0", "gain_over_plain").id
    assert cell.second.row == only(table, "balanced steps_hr=2 steps_lr=0", "seconds").id
    assert [block.name for block in blocks if isinstance(block, Figure)] == ["schemes"]


def test_jobs_are_all_that_the_blocks_need(bench):
    """What is planned is measured before, so that writing the chapter starts nothing."""
    for job in Schemes().jobs(bench.session):
        bench.session.outcome(job)
    before = {job.key for job in Schemes().jobs(bench.session)}
    seen: set[str] = set()

    class Spy:
        def get(self, key):
            seen.add(key)
            return bench.session.store.get(key)

    spied = Session(
        config=bench.session.config,
        models=bench.session.models,
        images=bench.session.images,
        store=Spy(),
    )
    Schemes().blocks(spied, ResultTable())

    assert seen == before


def test_a_cell_that_failed_is_a_dash(bench):
    session = bench.session
    for job in Schemes().jobs(session):
        session.outcome(job)
    job = session.solve(session.study[0], session.models[0], "paper", steps_hr=2, steps_lr=2)

    def unreadable():
        raise ImageError("no reason")

    class Without:
        """All outcomes but one."""

        def get(self, key):
            return None if key == job.key else session.store.get(key)

    incomplete = Session(
        config=session.config,
        models=session.models,
        # Known by their content, and so by their outcomes; measured again, they fail.
        images=[replace(image, read=unreadable) for image in session.images],
        store=Without(),
    )

    tables = [block for block in Schemes().blocks(incomplete, ResultTable()) if isinstance(block, Table)]

    assert tables[0].rows[1][2] == "–"
    assert isinstance(tables[0].rows[1][1], Pair)
