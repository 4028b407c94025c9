"""Progress bar of the commands that solve; hidden where standard error is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from hcd.errors import printable

if TYPE_CHECKING:
    from hcd.collab import Evaluation


class SolveProgress:
    """Progress bar over all pictures: name, stage, evaluation, current dB, time left."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._name, self._finished, self._planned, self._done = "", 0, 0, 0

    def start(self, name: str, evaluations: int) -> None:
        """Start the next picture; all planned evaluations of the last one count as done."""
        self._finished += self._planned
        self._name, self._planned, self._done = name, evaluations, 0
        self._progress.update(self._task, completed=self._finished, description=name)

    def evaluation(self, entry: Evaluation) -> None:
        """Show one gradient evaluation."""
        self._done += 1
        text = f"{self._name}  {entry.stage.upper()} stage {entry.step}  {entry.psnr:.2f} dB"
        self._progress.update(self._task, completed=self._finished + self._done, description=text)

    def tile(self, number: int, tiles: int) -> None:
        """Show the tile that is computed within one evaluation of a large picture."""
        done = self._finished + self._done + (number - 1) / tiles
        self._progress.update(self._task, completed=done, description=f"{self._name}  tile {number}/{tiles}")

    def print(self, text: str) -> None:
        """Print a line on standard output; the bar is hidden meanwhile."""
        self._progress.stop()
        click.echo(printable(text))
        self._progress.start()


@contextmanager
def solve_progress(evaluations: int) -> Iterator[SolveProgress]:
    """Show a bar for a total of ``evaluations`` gradient evaluations."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield SolveProgress(progress, progress.add_task("", total=max(1, evaluations)))
