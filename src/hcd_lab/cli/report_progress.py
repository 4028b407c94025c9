"""Progress of a report: a bar of expected time on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from hcd.collab import Evaluation
from hcd.errors import printable
from hcd_lab.report import Job, Progress

_QUIET_SECONDS = 60.0


@final
class ReportProgress(Progress):
    """Estimates the remaining time from the costs of jobs, and the seconds per cost of each model so far."""

    def __init__(self, progress: Bar, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._costs: dict[str, float] = {}
        self._left: dict[str, float] = defaultdict(float)
        self._spent: dict[str, tuple[float, float]] = {}
        self._total = self._done = 0.0
        self._workers = 1
        self._said = time.monotonic()

    def plan(self, cached: int, ahead: Sequence[Job], workers: int) -> None:
        self._workers = workers
        for job in ahead:
            cost = self._costs[job.key] = job.cost()
            self._left[job.model.name] += cost
        self._total = sum(self._left.values())
        self._progress.update(self._task, total=max(self._total, 1e-9))
        click.echo(f"{len(ahead)} to measure, {cached} cached", err=True)

    def start(self, job: Job) -> None:
        self._show(job.title)

    def evaluation(self, job: Job, entry: Evaluation) -> None:
        self._show(f"{job.title}  {entry.stage.upper()} stage {entry.step}  {entry.psnr:.2f} dB")

    def done(self, job: Job, seconds: float) -> None:
        before = self._spent.get(job.model.name, (0.0, 0.0))
        self._spent[job.model.name] = before[0] + self._finish(job), before[1] + seconds
        self._show(job.title)

    def failed(self, job: Job) -> None:
        # Its time does not count for the pace.
        self._finish(job)
        self._show(job.title)

    def _finish(self, job: Job) -> float:
        cost = self._costs.pop(job.key, 0.0)
        self._left[job.model.name] -= cost
        self._done += cost
        self._progress.update(self._task, completed=self._done)
        return cost

    def _show(self, text: str) -> None:
        left = self._seconds_left()
        ahead = "" if left is None else f"about {_minutes(left)} left"
        self._progress.update(self._task, description=printable(text), ahead=ahead)
        if self._progress.disable and time.monotonic() - self._said > _QUIET_SECONDS:
            self._said = time.monotonic()
            share = self._done / self._total if self._total else 1.0
            click.echo(printable(f"{share:.0%} {ahead}  {text}"), err=True)

    def _seconds_left(self) -> float | None:
        """Extrapolate; a model that has not begun is assumed to be as fast as the others."""
        cost, seconds = (sum(pair[i] for pair in self._spent.values()) for i in (0, 1))
        if not cost:
            return None
        pace = {name: pair[1] / pair[0] for name, pair in self._spent.items() if pair[0]}
        return sum(left * pace.get(name, seconds / cost) for name, left in self._left.items()) / self._workers


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{max(1, minutes)} min"


@contextmanager
def report_progress() -> Iterator[ReportProgress]:
    """Show a bar over all jobs of a report."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[ahead]}"))
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield ReportProgress(progress, progress.add_task("", total=None, ahead=""))
