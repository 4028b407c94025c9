"""Batches of files: expand folders, name outputs, continue after a failed file."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from hcd.errors import HcdError, UsageError, printable
from hcd.image import SUFFIXES, list_pictures


def plan(inputs: Sequence[Path], out: Path, rename: Callable[[Path], str]) -> list[tuple[Path, Path]]:
    """Return pairs of input and output. A folder stands for the pictures directly inside it.

    ``out`` is the output file if there is one input and ``out`` has a picture's suffix. Otherwise it is a folder.

    Raises:
        UsageError: two inputs have the same output, an output would overwrite an input, or a folder holds no picture.
    """
    files: list[Path] = []
    for path in inputs:
        # os.path.isdir is False for overlong names and circular links; reading the file reports the cause.
        if os.path.isdir(path):
            files.extend(list_pictures(path))
        else:
            files.append(path)
    if os.path.isdir(out) or out.suffix.lower() not in SUFFIXES:
        pairs = [(file, out / rename(file)) for file in files]
    elif len(files) == 1:
        pairs = [(files[0], out)]
    else:
        raise UsageError(f"{out}: {len(files)} inputs need a folder; leave the suffix out")
    sources = {os.path.realpath(source): source for source in files}
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        if target in taken:
            raise UsageError(f"{taken[target]} and {source}: both would be written to {target}; use two folders")
        overwritten = sources.get(os.path.realpath(target))
        if overwritten is not None:
            by = "its own result" if overwritten == source else f"the result of {source}"
            raise UsageError(f"{overwritten}: would be overwritten by {by}; choose another output")
        taken[target] = source
    return pairs


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Handle Ctrl-C: the first one makes the yielded function return True, the second one ends the command."""
    pressed = False

    def on_signal(signum: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        click.echo("Stopping with the best found so far; press Ctrl-C again to stop at once.", err=True)

    # Python handles signals in the main thread only.
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def warn(source: Path, warnings: Sequence[str]) -> None:
    """Print warnings about a file on standard error, a line each that names the file."""
    for text in warnings:
        named = text if str(source) in text else f"{source}: {text}"
        click.echo(printable(f"Warning: {named}"), err=True)


def run(
    pairs: Sequence[tuple[Path, Path]],
    work: Callable[[Path, Path], None],
    *,
    debug: bool,
    interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Process every pair; report each failure on standard error and exit with code 1 if there was one.

    Args:
        pairs: inputs and outputs.
        work: processes one pair.
        debug: let errors propagate.
        interrupted: called before each pair; if it returns True, the rest is skipped, which counts as a failure.
    """
    failures = 0
    for done, (source, target) in enumerate(pairs):
        if interrupted():
            click.echo(f"interrupted: {len(pairs) - done} of {len(pairs)} inputs not done", err=True)
            sys.exit(1)
        try:
            work(source, target)
        except HcdError as error:
            if debug:
                raise
            failures += 1
            text = str(error)
            named = text if str(source) in text or str(target) in text else f"{source}: {text}"
            click.echo(printable(f"Error: {named}"), err=True)
        except Exception as error:
            if debug:
                raise
            failures += 1
            text = f"Error: {source}: unexpected {type(error).__name__}: {error}; run 'hcd --debug …' to see where"
            click.echo(printable(text), err=True)
    if failures:
        if len(pairs) > 1:
            click.echo(f"{failures} of {len(pairs)} inputs failed; the others are done", err=True)
        sys.exit(1)
