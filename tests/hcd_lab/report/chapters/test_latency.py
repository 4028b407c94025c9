"""Time: what the tables show of known outcomes."""

from __future__ import annotations

import pytest

from hcd.rescaler import BicubicRescaler
from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.blocks import Paragraph, Table
from hcd_lab.report.chapters.latency import Latency
from hcd_lab.report.config import ReportConfig, Study
from hcd_lab.report.jobs import ReceiverTiming
from hcd_lab.report.results import ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Store
from tests.conftest import make_smooth_picture


def read_picture():
    return make_smooth_picture(64, 64)


@pytest.fixture
def session(tmp_path):
    """Every outcome is planted: a megapixel each, ``balanced`` four times as long as ``plain``."""
    made = Session(
        config=ReportConfig(models=("bicubic-x2",), study=Study(pictures=2, crop=32)),
        models=[BicubicRescaler(2).freeze()],
        images=[BenchmarkImage(dataset="Set5", name=name, digest=name, read=read_picture) for name in "ab"],
        store=Store(tmp_path),
    )
    for job in Latency().jobs(made):
        if isinstance(job, ReceiverTiming):
            outcome = {
                "plain_seconds": [1.0, 2.0, 4.0],
                "collaborative_seconds": [1.0, 2.2, 6.0],
                "plain_cpu_seconds": [1.0, 1.0, 1.0],
                "collaborative_cpu_seconds": [1.0, 1.01, 1.0],
            }
        else:
            seconds = {"plain": 0.5, "balanced": 2.0}.get(job.preset, 1.0)
            outcome = {"seconds": seconds, "megapixels": 0.25, "grad_evals": 8}
        made.store.put(job.key, outcome)
    return made


def value(table, metric, variant, picture):
    (entry,) = [
        entry
        for entry in table.rows(of_machine=True)
        if (entry.metric, entry.variant, entry.picture) == (metric, variant, picture)
    ]
    return entry.value


@pytest.fixture
def told(session):
    table = ResultTable()
    blocks = Latency().blocks(session, table)
    assert not session.failed
    return blocks, table


def test_downscaling_in_seconds_per_megapixel(told):
    _, table = told
    assert value(table, "seconds_per_megapixel", "balanced", "all") == 8.0
    assert value(table, "seconds_of_plain", "balanced", "all") == 4.0


def test_best_is_told_of_its_sets(told):
    blocks, _ = told
    table = next(block for block in blocks if isinstance(block, Table))
    assert [row[1] for row in table.rows] == ["plain", "paper", "fast", "balanced", "best"]


def test_the_ratio_is_the_median_over_pairs_and_the_page_says_where_it_lies(told):
    blocks, table = told
    assert value(table, "upscale_seconds_ratio_median", "balanced over plain", "a") == pytest.approx(1.1)
    assert value(table, "upscale_cpu_seconds_ratio_median", "balanced over plain", "all") == 1.0
    said = [str(block.parts[-1]) for block in blocks if isinstance(block, Paragraph)]
    assert said[-1] == "; the median is outside 1.00 ± 0.03."


def test_what_depends_on_the_machine_is_not_among_the_metrics(told):
    _, table = told
    assert {entry.metric for entry in table.rows()} == {"pictures", "grad_evals", "pairs"}


def test_keys_are_the_same_again(session):
    assert [job.key for job in Latency().jobs(session)] == [job.key for job in Latency().jobs(session)]
