"""Progress of a training run on a terminal, in a log, and in TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from hcd.errors import MissingDependencyError, printable

if TYPE_CHECKING:
    from hcd_lab.train import Progress

_LINE_EVERY = 10.0  # seconds, without a terminal


class TrainingProgress:
    """A bar on a terminal, a line every ten seconds in a log, and a table at the end; nothing if not shown."""

    def __init__(self, name: str, steps: int, *, shown: bool) -> None:
        console = Console(stderr=True)
        self._name, self._shown, self._terminal = name, shown, console.is_terminal
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*columns, console=console, transient=True, disable=not (shown and self._terminal))
        self._task = self.bar.add_task(name, total=steps)
        self._last: Progress | None = None
        self._printed = -math.inf

    def print(self, text: str) -> None:
        if self._shown:
            self.bar.stop()
            click.echo(printable(text))
            if self._terminal:
                self.bar.start()

    def show(self, state: Progress) -> None:
        """Show the state after a step."""
        validated = "" if math.isnan(state.validation_psnr) else f"  validation {state.validation_psnr:.2f} dB"
        speed = f"{state.patches_per_second:.1f} patches/s"
        text = f"{self._name}  loss {state.loss:.4f}  {state.psnr:.2f} dB{validated}  {speed}"
        self.bar.update(self._task, completed=state.step, description=text)
        if self._shown and not self._terminal and state.seconds - self._printed >= _LINE_EVERY:
            self._printed = state.seconds
            click.echo(f"step {state.step}/{state.steps}  {text}  LR {state.lr_psnr:.2f} dB  {state.seconds:.0f} s")
        self._last = state

    def end(self, weights: Path) -> None:
        """Print the last state, and the path of the weights."""
        self.bar.stop()
        if not self._shown:
            return
        if self._last is not None:
            last = self._last
            table = Table("steps", "seconds", "patches/s", "waiting", "loss", "LR", "validation", box=SIMPLE_HEAD)
            validated = "–" if math.isnan(last.validation_psnr) else f"{last.validation_psnr:.2f} dB"
            table.add_row(
                f"{last.step} of {last.steps}",
                f"{last.seconds:.0f}",
                f"{last.patches_per_second:.2f}",
                f"{last.waiting:.1%}",
                f"{last.loss:.5f}",
                f"{last.lr_psnr:.2f} dB",
                validated,
            )
            Console().print(table)
        click.echo(printable(f"weights: {weights}"))


@contextmanager
def training_progress(name: str, steps: int, *, shown: bool) -> Iterator[TrainingProgress]:
    """Show the progress of a run, in one of several processes."""
    progress = TrainingProgress(name, steps, shown=shown)
    with progress.bar:
        yield progress


@contextmanager
def tensorboard_log(folder: Path | None) -> Iterator[Callable[[Progress], None]]:
    """Return a function that logs states for TensorBoard, or does nothing without a folder.

    Raises:
        MissingDependencyError: the extra ``train`` is not installed.
    """
    if folder is None:
        yield lambda state: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "--tensorboard needs the tensorboard package; install it with: pip install 'hcd[train]'"
        ) from error
    writer = SummaryWriter(str(folder))

    def log(state: Progress) -> None:
        values = {
            "loss": state.loss,
            "psnr/batch": state.psnr,
            "psnr/lr": state.lr_psnr,
            "psnr/validation": state.validation_psnr,
            "speed/patches_per_second": state.patches_per_second,
            "speed/waiting": state.waiting,
        }
        for name, value in values.items():
            if math.isfinite(value):
                writer.add_scalar(name, value, state.step)

    try:
        yield log
    finally:
        writer.close()
