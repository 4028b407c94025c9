"""Several processes measure at once: each its share of the jobs, with its own models, into the same store."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from queue import Empty
from typing import final

import torch

from hcd.heap import keep_freed, keeps_freed
from hcd_lab.report.chapters import CHAPTERS, Chapter
from hcd_lab.report.jobs import Job
from hcd_lab.report.session import Failed, RunConfig, Session, open_session

_Done = tuple[str, float]
"""Key of a job, and the seconds that it took."""


def distinct_jobs(chapters: Sequence[Chapter], session: Session) -> dict[str, Job]:
    """Every job of these chapters once, by its key, in their order."""
    return {job.key: job for chapter in chapters for job in chapter.jobs(session)}


def share_out(jobs: Sequence[Job], workers: int) -> list[list[Job]]:
    """Shares of about equal cost; of every model too, since what a unit of cost takes depends on it."""
    of_model: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        of_model[job.model.name].append(job)
    place: dict[str, int] = {}
    for same in of_model.values():
        loads = [0.0] * workers
        # The largest first, each to whom has least.
        for job in sorted(same, key=lambda job: -job.cost()):
            place[job.key] = loads.index(min(loads))
            loads[place[job.key]] += job.cost()
        # Another model begins with another worker.
        shift = sum(place.values()) % workers
        place.update({job.key: (place[job.key] + shift) % workers for job in same})
    return [[job for job in jobs if place[job.key] == worker] for worker in range(workers)]


@final
class WorkerPool:
    """The processes that are at work."""

    def __init__(self, processes: Sequence[SpawnProcess], done: Queue[_Done]) -> None:
        self._processes, self._done = processes, done

    def news(self) -> Iterator[_Done]:
        """What was done since this was asked last."""
        while True:
            try:
                yield self._done.get_nowait()
            except Empty:
                return

    def wait(self, on_done: Callable[[str, float], None]) -> None:
        """Until all of them are through; one that was ended from outside is through as well."""
        while any(process.is_alive() for process in self._processes):
            try:
                on_done(*self._done.get(timeout=0.5))
            except Empty:
                continue
        for done in self.news():
            on_done(*done)


@contextmanager
def crew(order: RunConfig, shares: Sequence[Sequence[Job]], threads: int) -> Iterator[WorkerPool]:
    """A process for every share, with so many threads; those that still work at the end are ended."""
    context = multiprocessing.get_context("spawn")
    done: Queue[_Done] = context.Queue()
    processes = [
        context.Process(
            target=_work, args=(order, [job.key for job in share], threads, keeps_freed(), done), daemon=True
        )
        for share in shares
        if share
    ]
    try:
        for process in processes:
            process.start()
        yield WorkerPool(processes, done)
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()


def _work(order: RunConfig, keys: Sequence[str], threads: int, keeps: bool, done: Queue[_Done]) -> None:
    # Ctrl-C reaches the whole group; who started this process ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    if keeps:
        keep_freed()
    session = open_session(order)
    jobs = distinct_jobs(CHAPTERS, session)
    for key in keys:
        started = time.perf_counter()
        try:
            session.outcome(jobs[key])
        except Failed:
            # Tried again, and noted, by who started this process.
            continue
        done.put((key, time.perf_counter() - started))
