"""What a terminal shows while pictures are solved; silent where standard error is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from hcd.collab import Evaluation


class SolveProgress:
    """One bar: picture, stage, evaluation, dB so far, time left."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._name, self._done = "", 0

    def start(self, name: str) -> None:
        """Name the picture that is solved next."""
        self._name = name
        self._progress.update(self._task, description=f"{name}  reading")

    def evaluation(self, entry: Evaluation) -> None:
        """Show one gradient evaluation."""
        self._done += 1
        text = f"{self._name}  {entry.stage.upper()} stage {entry.step}  {entry.psnr:.2f} dB"
        self._progress.update(self._task, completed=self._done, description=text)

    def complete(self, evaluations: int) -> None:
        """Jump to ``evaluations`` in all, where a picture took fewer than planned."""
        self._done = evaluations
        self._progress.update(self._task, completed=evaluations)

    def print(self, text: str) -> None:
        """A line on standard output, above the bar."""
        self._progress.stop()
        print(text, flush=True)
        self._progress.start()


@contextmanager
def solve_progress(evaluations: int) -> Iterator[SolveProgress]:
    """A bar over ``evaluations`` gradient evaluations in all."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield SolveProgress(progress, progress.add_task("", total=max(1, evaluations)))
