"""``hcd bench``: what things cost on this machine. Its subcommands are modules ``bench_<name>`` beside this one."""

from __future__ import annotations

import importlib

import click

from hcd.errors import unknown_name

# Every subcommand, with what runs when none is named first. Adding one takes a name here and its module.
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
    """Measure what things cost on this machine, against plain implementations, in one run."""
    if ctx.invoked_subcommand is None:
        first = command.get_command(ctx, _BENCHMARKS[0])
        if first is not None:
            ctx.invoke(first)
