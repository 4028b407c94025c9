"""``hcd bench``: measure costs on this machine. Each subcommand is a module ``bench_<name>`` beside this one."""

from __future__ import annotations

import importlib

import click

from hcd.errors import unknown_name

# The first one runs where none is named. A new subcommand needs its name here and its module.
_BENCHMARKS = ("evaluation", "pictures", "solver")


class _Benchmarks(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_BENCHMARKS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _BENCHMARKS:
            raise click.UsageError(unknown_name("benchmark", cmd_name, _BENCHMARKS))
        command: click.Command = importlib.import_module(f"hcd_lab.cli.bench_{cmd_name}").command
        return command


@click.group("bench", cls=_Benchmarks, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Measure costs on this machine against a reference implementation, in one run."""
    if ctx.invoked_subcommand is None:
        first = command.get_command(ctx, _BENCHMARKS[0])
        if first is not None:
            ctx.invoke(first)
