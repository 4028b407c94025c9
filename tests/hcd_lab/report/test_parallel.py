"""Several processes make the report that one process makes."""

from __future__ import annotations

import importlib
import multiprocessing
from dataclasses import replace

import pytest

from hcd.errors import UsageError
from hcd_lab.report import parallel, reproduce
from hcd_lab.report.chapters.quantitative import Quantitative
from hcd_lab.report.session import RunConfig
from tests.hcd_lab.report.conftest import TINY, Diary

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _main_table(monkeypatch):
    """Workers find the jobs of this chapter among those of all."""
    monkeypatch.setattr(importlib.import_module("hcd_lab.report.reproduce"), "CHAPTERS", (Quantitative(),))


def test_two_workers_find_what_one_finds(data, tmp_path):
    """A job that fails in a worker is named, and the others are measured once."""
    (data / "Set5" / "speck.png").write_bytes((data / "Set5" / "bird.png").read_bytes()[:200])
    config = replace(TINY, presets=("plain", "paper", "balanced"))
    alone = reproduce(config, tmp_path / "alone", data=data)
    together = reproduce(config, tmp_path / "together", data=data, workers=2, progress=(diary := Diary()))
    metrics = [report.page.with_name("metrics.csv").read_bytes() for report in (alone, together)]
    assert metrics[0] == metrics[1]
    assert alone.failed == together.failed != {}
    measured = [title for title in diary.ahead if "speck" not in title]
    assert sorted(diary.finished) == sorted(measured)
    # This process only tried the failed ones again.
    assert all("speck" in title for title in diary.started)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_workers_end_with_the_run(session, data, tmp_path, error):
    jobs = list(parallel.distinct_jobs((Quantitative(),), session()).values())
    run = RunConfig(report=TINY, data=data, cache=tmp_path / "kept", device="cpu")

    def interrupted(job, seconds):
        raise error

    with pytest.raises(error):
        parallel.run_parallel(run, jobs, workers=2, threads=1, on_done=interrupted)
    assert multiprocessing.active_children() == []


def test_no_worker_is_refused(data, tmp_path):
    with pytest.raises(UsageError, match="workers 0"):
        reproduce(TINY, tmp_path / "report", data=data, workers=0)
