"""Time and memory: what stands in the tables, from outcomes that are known."""

from __future__ import annotations

import pytest

from hcd.report.blocks import Paragraph, Table
from hcd.report.chapters.latency import Latency
from hcd.report.config import ReportConfig, Study
from hcd.report.costs import Footprint, Receiver
from hcd.report.datasets import Subject
from hcd.report.laboratory import Laboratory
from hcd.report.ledger import Ledger
from hcd.report.store import Store
from hcd.rescaler import BicubicRescaler
from tests.conftest import make_smooth_picture


def read_picture():
    return make_smooth_picture(64, 64)


@pytest.fixture
def laboratory(tmp_path):
    """Every outcome is planted: a megapixel each, ``balanced`` four times as long as ``plain``."""
    made = Laboratory(
        config=ReportConfig(models=("bicubic-x2",), study=Study(pictures=2, crop=32)),
        models=[BicubicRescaler(2).freeze()],
        subjects=[Subject(dataset="Set5", name=name, digest=name, read=read_picture) for name in "ab"],
        store=Store(tmp_path),
    )
    for job in Latency().jobs(made):
        if isinstance(job, Receiver):
            outcome = {
                "plain_seconds": [1.0, 2.0, 4.0],
                "collaborative_seconds": [1.0, 2.2, 6.0],
                "plain_cpu_seconds": [1.0, 1.0, 1.0],
                "collaborative_cpu_seconds": [1.0, 1.01, 1.0],
            }
        elif isinstance(job, Footprint):
            outcome = {"loaded_bytes": 300 * 2**20, "taken_bytes": len(job.work) * 2**20}
        else:
            seconds = {"plain": 0.5, "balanced": 2.0}.get(job.preset, 1.0)
            outcome = {"seconds": seconds, "megapixels": 0.25, "grad_evals": 8}
        made.store.put(job.key, outcome)
    return made


def value(ledger, figure, variant, picture):
    (entry,) = [
        entry
        for entry in ledger.rows(of_machine=True)
        if (entry.figure, entry.variant, entry.picture) == (figure, variant, picture)
    ]
    return entry.value


@pytest.fixture
def told(laboratory):
    ledger = Ledger()
    blocks = Latency().blocks(laboratory, ledger)
    assert not laboratory.failed
    return blocks, ledger


def test_downscaling_in_seconds_per_megapixel(told):
    _, ledger = told
    assert value(ledger, "seconds_per_megapixel", "balanced", "all") == 8.0
    assert value(ledger, "seconds_of_plain", "balanced", "all") == 4.0


def test_best_is_told_of_its_sets(told):
    blocks, _ = told
    table = next(block for block in blocks if isinstance(block, Table))
    assert [row[1] for row in table.rows] == ["plain", "paper", "fast", "balanced", "best"]


def test_the_ratio_is_the_median_over_pairs_and_the_page_says_where_it_lies(told):
    blocks, ledger = told
    assert value(ledger, "upscale_seconds_ratio_median", "balanced over plain", "a") == pytest.approx(1.1)
    assert value(ledger, "upscale_cpu_seconds_ratio_median", "balanced over plain", "all") == 1.0
    said = [str(block.parts[-1]) for block in blocks if isinstance(block, Paragraph)]
    assert said[-1] == "; the median is outside 1.00 ± 0.03."


def test_memory_of_each_work_beside_the_model(told):
    _, ledger = told
    assert value(ledger, "peak_memory_beside", "balanced", "a") == len("balanced")
    assert value(ledger, "peak_memory", "model loaded", "mean") == 300


def test_what_depends_on_the_machine_is_not_among_the_figures(told):
    _, ledger = told
    assert {entry.figure for entry in ledger.rows()} == {"pictures", "grad_evals", "pairs"}


def test_keys_are_the_same_again(laboratory):
    assert [job.key for job in Latency().jobs(laboratory)] == [job.key for job in Latency().jobs(laboratory)]
