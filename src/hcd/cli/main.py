"""The ``hcd`` command: finds subcommands, turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import os

import click

from hcd import __version__
from hcd.errors import HcdError, printable, unknown_name
from hcd.heap import keep_freed

# Commands in order of use, and the modules that define them; the laboratory's come last.
_COMMANDS = {
    "downscale": "hcd.cli.downscale",
    "upscale": "hcd.cli.upscale",
    "compare": "hcd.cli.compare",
    "evaluate": "hcd.cli.evaluate",
    "models": "hcd.cli.models",
    "convert": "hcd.cli.convert",
    "demo": "hcd.cli.demo",
    "train": "hcd_lab.cli.train",
    "campaign": "hcd_lab.cli.campaign",
    "card": "hcd_lab.cli.card",
    "bench": "hcd_lab.cli.bench",
    "reproduce": "hcd_lab.cli.reproduce",
}


class _LazyGroup(click.Group):
    """Imports a subcommand's module only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            raise click.UsageError(unknown_name("command", cmd_name, _COMMANDS))
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except HcdError as error:
            if ctx.params["debug"]:
                raise
            click.echo(printable(f"Error: {error}"), err=True)
            ctx.exit(error.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            closed_pipe = isinstance(error, OSError) and error.errno == errno.EPIPE
            if ctx.params["debug"] or closed_pipe:  # click ends quietly where nobody reads on
                raise
            text = f"Error: unexpected {type(error).__name__}: {error}; run 'hcd --debug …' to see where"
            click.echo(printable(text), err=True)
            ctx.exit(1)


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hcd")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def main(debug: bool) -> None:
    """Small pictures from which the large ones can be rebuilt (Hierarchical Collaborative Downscaling)."""
    # PyTorch asks for it when it first takes memory: large tensors then come in pages of 2 MiB. In pages of 4 KiB,
    # which Linux clears one by one, that takes up to a quarter of the time (docs/notes/0019).
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # In what is kept, pages are cleared once.
    keep_freed()
