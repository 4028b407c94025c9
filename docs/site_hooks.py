"""Hooks of the documentation site: notes in the navigation, the command line's pages from click."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from hcd.cli.main import main

_MARK = "<!-- command line -->"


def on_config(config: Any) -> Any:
    """Add the notes to the chapter of that name, in order."""
    notes = sorted((Path(config["docs_dir"]) / "notes").glob("[0-9]*.md"))
    for chapter in config["nav"]:
        if "Notes" in chapter:
            chapter["Notes"] = [*chapter["Notes"], *(f"notes/{note.name}" for note in notes)]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write every command where a page asks for it."""
    if _MARK not in markdown:
        return markdown
    context = click.Context(main, info_name="hcd", **main.context_settings)
    return markdown.replace(_MARK, "\n".join(_describe(main, context, level=2)))


def _describe(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    """Markdown of a command and of all below it."""
    if isinstance(command, click.Group):
        yield from ("```", command.get_help(context), "```", "")
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is None:
                raise click.UsageError(f"{name}: is listed, but there is no such command")
            below = click.Context(child, info_name=name, parent=context)
            yield from (f"{'#' * level} {below.command_path}", "")
            yield from _describe(child, below, level + 1)
        return
    yield from (_escape(command.help or ""), "", "```", f"{' '.join(_usage(command, context))}", "```", "")
    yield from ("| option | meaning |", "| --- | --- |")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            yield f"| `{record[0]}` | {_escape(record[1])} |"
    yield ""


def _usage(command: click.Command, context: click.Context) -> list[str]:
    return [context.command_path, *command.collect_usage_pieces(context)]


def _escape(text: str) -> str:
    """Text of a help page as Markdown: its signs are not read as Markdown or HTML."""
    return re.sub(r"([|*_\[\]`])", r"\\\1", text.replace("<", "&lt;"))
