"""Parts that the benchmarks' commands share: the options of the model, and the table and JSON of a result."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hcd.cli.options import memory_option

if TYPE_CHECKING:
    from hcd_lab.bench import BenchResult
    from hcd_lab.bench.result import Row


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        heading: its heading.
        field: field of the rows that it shows.
        form: format of its numbers.
        unit: numbers are divided by it.
    """

    heading: str
    field: str
    form: str = ""
    unit: float = 1

    def cell(self, row: Row) -> str:
        """Format a value; a missing one is a dash."""
        value = row[self.field]
        if value is None:
            return "–"
        return value if isinstance(value, str) else format(value / self.unit, self.form)


MIB = 2**20


def print_rows(rows: Iterable[Row], columns: Sequence[Column], *, title: str, caption: str | None = None) -> None:
    """Print a table, at its full width where there is no terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*(column.heading for column in columns), box=SIMPLE_HEAD, title=title, caption=caption)
    table.padding = (0, 1, 0, 0)
    for number, column in enumerate(table.columns):
        column.no_wrap, column.justify = bool(number), "right" if number else "left"
    for row in rows:
        table.add_row(*(column.cell(row) for column in columns))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)


def title_of(result: BenchResult) -> str:
    """Name what ran where."""
    machine = result.machine
    models = ", ".join(result.values("model"))
    return ", ".join(part for part in (models, machine["device"], f"{machine['threads']} threads") if part)


def size_of(row: Row) -> str:
    """Format the size of an HR image."""
    return f"{row['width']}×{row['height']}"


def write_json(result: BenchResult, path: Path | None, **more: Any) -> None:
    """Write a result, and what follows from it, where a file is given."""
    from hcd.files import write_atomically
    from hcd.jsontext import json_text

    if path is not None:
        write_atomically(path, json_text({**result.as_json(), **more}).encode())


def split(text: str) -> tuple[str, ...]:
    """Split a comma-separated option."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def benchmark_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the model and the machine, and pass them as ``benchmark_model``."""

    @functools.wraps(command)
    def run(
        *, blocks: str, model: str | None, threads: int | None, device: str, memory: int | None, **others: Any
    ) -> None:
        from hcd.zoo import pick_device
        from hcd_lab.bench import BenchmarkModel, parse_blocks

        benchmark_model = BenchmarkModel(
            blocks=parse_blocks(blocks), name=model, threads=threads, memory=memory, device=pick_device(device)
        )
        command(benchmark_model=benchmark_model, **others)

    for option in (
        memory_option,
        click.option(
            "--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, …; auto takes a GPU if there is one."
        ),
        click.option("--threads", type=int, help="Threads of PyTorch. Default: PyTorch's own."),
        click.option("--model", help="Measure a model with weights instead, see 'hcd models'."),
        click.option(
            "--blocks", default="8,8", show_default=True, help="Couplings per level of an IRN with random weights."
        ),
    ):
        run = option(run)
    return run


json_option = click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the metrics to this file."
)
