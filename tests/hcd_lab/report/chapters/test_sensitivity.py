import math
from dataclasses import replace

import pytest

from hcd.collab import collaborate
from hcd.metrics import psnr
from hcd.solver import NormalizedGradient
from hcd_lab.report.blocks import Figure, Table
from hcd_lab.report.chapters.sensitivity import Sensitivity
from hcd_lab.report.result_table import ResultTable
from tests.hcd_lab.report.chapters.conftest import only


@pytest.fixture(scope="module")
def told(bench_of_one):
    table = ResultTable()
    return table, Sensitivity().blocks(bench_of_one.session, table)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_balls_in_gray_levels(bench_of_one, told, norm):
    table, _ = told
    ball = {"norm": norm, "over": "picture", "epsilon_lr": 2.0, "min_lr_psnr": -math.inf}
    variant = f"balanced norm={norm} over=picture epsilon_lr=2.0 min_lr_psnr=-inf"

    assert only(table, variant, "gain_over_plain").value == pytest.approx(
        bench_of_one.gain("balanced", **ball), abs=1e-9
    )
    model = bench_of_one.session.models[0]
    found = [collaborate(subject.read(), model, "balanced", **ball) for subject in bench_of_one.session.study]
    distances = [psnr(result.lr, result.plain_lr, channel="rgb") for result in found]
    assert only(table, variant, "plain_lr_psnr").value == pytest.approx(sum(distances), abs=1e-6)
    assert only(table, variant, "max_change").value <= (2 if norm == "linf" else 255)


def test_a_ball_too_small_for_one_gray_level_changes_nothing(told):
    table, blocks = told
    variant = "balanced norm=linf over=picture epsilon_lr=0.3 min_lr_psnr=-inf"

    assert only(table, variant, "gain_over_plain").value == 0
    assert only(table, variant, "plain_lr_psnr").value == math.inf
    (figure,) = [block for block in blocks if isinstance(block, Figure)]
    assert b"<svg" in figure.picture.data


def test_published_settings(bench_of_one, told):
    table, _ = told
    wide = bench_of_one.gain("paper", epsilon_hr=0.1, epsilon_lr=0.1)
    short = bench_of_one.gain("paper", rule=NormalizedGradient(step_size=5 / 255))

    assert only(table, "paper epsilon_hr=0.1 epsilon_lr=0.1", "gain_over_plain").value == pytest.approx(wide, abs=1e-9)
    assert only(table, "paper step_size=5/255", "gain_over_plain").value == pytest.approx(short, abs=1e-9)


def test_rounding_loss_and_bytes(bench_of_one, told):
    table, _ = told
    model = bench_of_one.session.models[0]
    rows, plain = bench_of_one.rows("balanced"), bench_of_one.rows("plain")
    unrounded = []
    for subject in bench_of_one.session.study:
        hr = subject.read()
        restored = model.upscale(collaborate(hr, model, "balanced").collaborative_lr).clamp(0, 1)
        unrounded.append(psnr(restored, hr, border=2))
    losses = [u - row.psnr_y for u, row in zip(unrounded, rows, strict=True)]
    shares = [own.lr_bytes / other.lr_bytes for own, other in zip(rows, plain, strict=True)]

    assert only(table, "balanced", "rounding_loss").value == pytest.approx(sum(losses), abs=1e-6)
    assert only(table, "balanced", "lr_bytes_of_plain").value == pytest.approx(sum(shares))


def test_rows_name_the_model(told):
    tables = [block for block in told[1] if isinstance(block, Table)]

    assert len(tables) == 3
    assert all(str(row[0]).startswith("tiny-irn-x2, ") for table in tables for row in table.rows)


def test_norms_that_did_nothing_can_be_drawn(bench_of_one):
    """All points of a line have an infinite fidelity."""
    session = bench_of_one.session
    study = replace(session.config.study, epsilons=(0.3,), norms=("linf",))
    small = replace(session, config=replace(session.config, study=study))

    assert any(isinstance(block, Figure) for block in Sensitivity().blocks(small, ResultTable()))
