from dataclasses import replace

import pytest

from hcd.errors import ImageError
from hcd.report.blocks import Figure, Pair, Table
from hcd.report.chapters.schemes import Schemes
from hcd.report.laboratory import Laboratory
from hcd.report.ledger import Ledger
from tests.report.chapters.conftest import only


def test_cells_are_gains_of_the_grid(bench):
    ledger = Ledger()
    blocks = Schemes().blocks(bench.laboratory, ledger)

    for scheme in ("paper", "balanced"):
        entry = only(ledger, f"{scheme} steps_hr=2 steps_lr=0", "gain_over_plain")
        assert entry.value == pytest.approx(bench.gain(scheme, steps_hr=2, steps_lr=0), abs=1e-9)
        assert only(ledger, f"{scheme} steps_hr=0 steps_lr=0", "gain_over_plain").value == 0
    tables = [block for block in blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [2, 2]
    cell = tables[1].rows[1][1]
    assert isinstance(cell, Pair)
    assert cell.first.row == only(ledger, "balanced steps_hr=2 steps_lr=0", "gain_over_plain").id
    assert cell.second.row == only(ledger, "balanced steps_hr=2 steps_lr=0", "seconds").id
    assert [block.name for block in blocks if isinstance(block, Figure)] == ["schemes"]


def test_jobs_are_all_that_the_blocks_need(bench):
    """What is planned is measured before, so that writing the chapter starts nothing."""
    for job in Schemes().jobs(bench.laboratory):
        bench.laboratory.outcome(job)
    before = {job.key for job in Schemes().jobs(bench.laboratory)}
    seen: set[str] = set()

    class Spy:
        def get(self, key):
            seen.add(key)
            return bench.laboratory.store.get(key)

    spied = Laboratory(
        config=bench.laboratory.config,
        models=bench.laboratory.models,
        subjects=bench.laboratory.subjects,
        store=Spy(),
    )
    Schemes().blocks(spied, Ledger())

    assert seen == before


def test_a_cell_that_failed_is_a_dash(bench):
    laboratory = bench.laboratory
    for job in Schemes().jobs(laboratory):
        laboratory.outcome(job)
    job = laboratory.solve(laboratory.study[0], laboratory.models[0], "paper", steps_hr=2, steps_lr=2)

    def unreadable():
        raise ImageError("no reason")

    class Without:
        """All outcomes but one."""

        def get(self, key):
            return None if key == job.key else laboratory.store.get(key)

    incomplete = Laboratory(
        config=laboratory.config,
        models=laboratory.models,
        # Known by their content, and so by their outcomes; measured again, they fail.
        subjects=[replace(subject, read=unreadable) for subject in laboratory.subjects],
        store=Without(),
    )

    tables = [block for block in Schemes().blocks(incomplete, Ledger()) if isinstance(block, Table)]

    assert tables[0].rows[1][2] == "–"
    assert isinstance(tables[0].rows[1][1], Pair)
