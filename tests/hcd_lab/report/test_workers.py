"""Several processes: shares, and a report that is the same as one process makes it."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import replace

import pytest

from hcd.errors import UsageError
from hcd_lab.report import reproduce
from hcd_lab.report.chapters import CHAPTERS
from hcd_lab.report.chapters.quantitative import Quantitative
from hcd_lab.report.session import RunConfig
from hcd_lab.report.workers import crew, distinct_jobs, share_out
from tests.hcd_lab.report.conftest import TINY, Diary


@pytest.fixture
def main_table(monkeypatch):
    """One chapter instead of all, which take their time; processes find its jobs among those of all."""
    monkeypatch.setattr(importlib.import_module("hcd_lab.report.reproduce"), "CHAPTERS", (Quantitative(),))


def test_shares_hold_every_job_once_and_cost_alike(session):
    opened = session(replace(TINY, models=("bicubic-x2", "bicubic-x4")))
    jobs = list(distinct_jobs(CHAPTERS, opened).values())
    shares = share_out(jobs, 3)
    assert Counter(job.key for share in shares for job in share) == Counter(job.key for job in jobs)
    for name in ("bicubic-x2", "bicubic-x4"):
        costs = [sum(job.cost() for job in share if job.model.name == name) for share in shares]
        largest = max(job.cost() for job in jobs if job.model.name == name)
        assert max(costs) - min(costs) <= largest
    # In the order of the chapters, so that what comes first is there first.
    order = [job.key for job in jobs]
    assert all([job.key for job in share] == sorted((job.key for job in share), key=order.index) for share in shares)


def test_one_share_is_everything(session):
    jobs = list(distinct_jobs(CHAPTERS, session()).values())
    assert share_out(jobs, 1) == [jobs]


def test_two_workers_write_the_same_figures(data, tmp_path, main_table):
    alone = reproduce(TINY, tmp_path / "alone", data=data)
    diary = Diary()
    together = reproduce(TINY, tmp_path / "together", data=data, workers=2, progress=diary)
    figures = [page.parent.joinpath("figures.csv").read_bytes() for page in (alone.page, together.page)]
    assert figures[0] == figures[1]
    # What the other process did is told too, and not done again.
    assert sorted(diary.finished) == sorted(diary.ahead)
    assert 0 < len(diary.started) < len(diary.ahead)


def test_what_a_worker_fails_on_is_named(data, tmp_path, main_table):
    (data / "Set5" / "speck.png").write_bytes((data / "Set5" / "bird.png").read_bytes()[:200])
    done = reproduce(TINY, tmp_path / "report", data=data, workers=2)
    assert any("speck" in title for title in done.failed)
    assert done.page.exists()


def test_workers_end_with_the_one_that_started_them(session, data, tmp_path):
    shares = share_out([job for job in distinct_jobs(CHAPTERS, session()).values() if not job.alone], 2)
    order = RunConfig(config=TINY, data=data, cache=tmp_path / "kept", device="cpu")
    with pytest.raises(KeyboardInterrupt), crew(order, shares, 1) as helpers:
        raise KeyboardInterrupt
    assert not any(process.is_alive() for process in helpers._processes)


def test_no_worker_is_refused(data, tmp_path):
    with pytest.raises(UsageError, match="workers 0"):
        reproduce(TINY, tmp_path / "report", data=data, workers=0)
