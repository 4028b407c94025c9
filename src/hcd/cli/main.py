"""``hcd``: find subcommands; turn errors into one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
from dataclasses import dataclass

import click

from hcd import __version__
from hcd.errors import HcdError, MissingDependencyError, printable, unknown_name
from hcd.heap import keep_freed


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One subcommand.

    Attributes:
        module: the module that holds its ``command``; imported when it is called.
        text: one line for ``hcd --help``.
        extra: the extra of this distribution that installs further libraries it needs; empty if it needs none.
    """

    module: str
    text: str
    extra: str = ""


# Every subcommand by group, in order of use: the order of ``hcd --help``. Nothing else in hcd names hcd_lab.
_GROUPS = {
    "Commands": {
        "downscale": _Entry(module="hcd.cli.downscale", text="Make small pictures that rebuild well."),
        "upscale": _Entry(module="hcd.cli.upscale", text="Rebuild the large pictures."),
    },
    "Look and measure": {
        "compare": _Entry(module="hcd.cli.compare", text="Show plain and collaborative side by side on a page."),
        "evaluate": _Entry(module="hcd.cli.evaluate", text="Measure models and presets on a folder of pictures."),
        "demo": _Entry(
            module="hcd.cli.demo", text="Try downscale, upscale and compare on a sample photograph.", extra="demo"
        ),
    },
    "Models": {
        "models": _Entry(module="hcd.cli.models", text="List the models, or show the card of one."),
        "convert": _Entry(module="hcd.cli.convert", text="Convert weights from and to their authors' formats."),
    },
    "Laboratory": {
        "train": _Entry(module="hcd_lab.cli.train", text="Train weights with a recipe.", extra="train"),
        "campaign": _Entry(module="hcd_lab.cli.campaign", text="Continue training for a given time.", extra="train"),
        "card": _Entry(module="hcd_lab.cli.card", text="Write a model card.", extra="train"),
        "bench": _Entry(module="hcd_lab.cli.bench", text="Measure costs on this machine.", extra="report"),
        "reproduce": _Entry(
            module="hcd_lab.cli.reproduce", text="Reproduce the publication's tables and figures.", extra="report"
        ),
    },
}
_ENTRIES = {name: entry for entries in _GROUPS.values() for name, entry in entries.items()}


class _LazyGroup(click.Group):
    """Group that imports a subcommand's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_ENTRIES)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _ENTRIES))
        for group, entries in _GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(f"{name:<{width}}", entry.text) for name, entry in entries.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ENTRIES:
            raise click.UsageError(unknown_name("command", cmd_name, _ENTRIES))
        entry = _ENTRIES[cmd_name]
        try:
            command: click.Command = importlib.import_module(entry.module).command
        except ModuleNotFoundError as error:
            raise _missing(cmd_name, error) from error
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            try:
                return super().invoke(ctx)
            except ModuleNotFoundError as error:
                raise _missing(ctx.invoked_subcommand or "", error) from error
        except HcdError as error:
            if ctx.params["debug"]:
                raise
            click.echo(printable(f"Error: {error}"), err=True)
            ctx.exit(error.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            closed_pipe = isinstance(error, OSError) and error.errno == errno.EPIPE
            if ctx.params["debug"] or closed_pipe:  # click ends quietly when the pipe is closed
                raise
            text = f"Error: unexpected {type(error).__name__}: {error}; run 'hcd --debug …' to see where"
            click.echo(printable(text), err=True)
            ctx.exit(1)


def _missing(command: str, error: ModuleNotFoundError) -> MissingDependencyError:
    """Return the error for a missing library, which names the extra that installs it."""
    extra = _ENTRIES[command].extra if command in _ENTRIES else ""
    package = f"hcd[{extra}]" if extra else "hcd"
    return MissingDependencyError(
        f"{command}: needs the module '{error.name}', which is not installed; pip install '{package}'"
    )


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hcd")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def main(debug: bool) -> None:
    """Small pictures from which the large ones can be rebuilt (Hierarchical Collaborative Downscaling)."""
    # Large tensors in pages of 2 MiB: zeroing pages of 4 KiB takes up to a quarter of the time (docs/notes/0019).
    # PyTorch reads this variable at its first allocation.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # Memory that the process keeps is zeroed only once.
    keep_freed()
