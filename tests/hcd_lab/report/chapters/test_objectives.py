from dataclasses import replace

import pytest

from hcd.collab import LOSSES
from hcd_lab.report.blocks import Table
from hcd_lab.report.chapters.objectives import Objectives
from hcd_lab.report.result_table import ResultTable
from tests.hcd_lab.report.chapters.conftest import only


def test_changes_of_every_figure(bench):
    table = ResultTable()
    blocks = Objectives().blocks(bench.session, table)

    for loss in ("rgb", "y"):
        for figure in ("psnr_y", "psnr_rgb", "ssim_y", "lr_psnr"):
            entry = only(table, f"balanced loss={loss}", f"{figure}_over_plain")
            assert entry.value == pytest.approx(bench.gain("balanced", figure, loss=loss), abs=1e-9)
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows] == ["tiny-irn-x2, rgb", "tiny-irn-x2, y"]


def test_each_loss_is_named_where_it_did_most(bench):
    table = ResultTable()
    *_, paragraph = Objectives().blocks(bench.session, table)

    best = max(("rgb", "y"), key=lambda loss: only(table, f"balanced loss={loss}", "psnr_y_over_plain").value)
    assert f"PSNR-Y with {best} (" in paragraph.parts


def test_every_loss_can_be_told(bench):
    study = replace(bench.session.config.study, losses=tuple(LOSSES))
    session = replace(bench.session, config=replace(bench.session.config, study=study))

    told, *_ = Objectives().blocks(session, ResultTable())

    assert all(f"{loss}: " in told.parts[0] for loss in LOSSES)
