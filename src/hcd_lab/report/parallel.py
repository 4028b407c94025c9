"""Run jobs in several processes, which share the cache."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

import torch

from hcd.heap import keep_freed, keeps_freed
from hcd_lab.report.chapters import CHAPTERS, Chapter
from hcd_lab.report.jobs import Job
from hcd_lab.report.session import Failed, RunConfig, Session, open_session

# Of a worker process: set once by :func:`_open`.
_session: Session
_jobs: Mapping[str, Job]


def distinct_jobs(chapters: Sequence[Chapter], session: Session) -> dict[str, Job]:
    """Return the jobs of these chapters by key, in their order, without duplicates."""
    return {job.key: job for chapter in chapters for job in chapter.jobs(session)}


def run_parallel(
    run: RunConfig, jobs: Sequence[Job], *, workers: int, threads: int, on_done: Callable[[Job, float], None]
) -> None:
    """Run jobs in worker processes, the most expensive first; their outcomes go to the cache.

    Jobs that fail, or whose process is killed, stay without an outcome: the caller runs them again and reports why.

    Args:
        run: configuration of the session that each worker opens.
        jobs: jobs of :data:`hcd_lab.report.chapters.CHAPTERS`.
        workers: number of processes.
        threads: threads of PyTorch in each process.
        on_done: called with each finished job and its seconds.
    """
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_open,
        initargs=(run, threads, keeps_freed()),
    )
    try:
        futures = {pool.submit(_run, job.key): job for job in sorted(jobs, key=lambda job: -job.cost())}
        with suppress(BrokenProcessPool):
            for future in as_completed(futures):
                seconds = future.result()
                if seconds is not None:
                    on_done(futures[future], seconds)
    except BaseException:
        # Jobs can take minutes; what they have not finished is lost anyway.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _open(run: RunConfig, threads: int, keeps: bool) -> None:
    """Prepare a worker process."""
    global _session, _jobs
    # Ctrl-C reaches the whole process group; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    if keeps:
        keep_freed()
    _session = open_session(run)
    _jobs = distinct_jobs(CHAPTERS, _session)


def _run(key: str) -> float | None:
    """Run one job in a worker process and return its seconds; None if it failed."""
    started = time.perf_counter()
    try:
        _session.outcome(_jobs[key])
    except Failed:
        return None
    return time.perf_counter() - started
