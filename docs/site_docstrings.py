"""Docstrings for the reference pages: entries of several names, roles and literal blocks of Sphinx."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

# "    steps_hr, steps_lr: evaluations of …", as an entry of Args or Attributes.
_ENTRY = re.compile(r"^( {4,8})(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)", re.MULTILINE)
# A code block of reStructuredText is one of Markdown, but for the second colon.
_LITERAL = re.compile(r"::$", re.MULTILINE)
# An example that doctest runs, to the end of its paragraph.
_EXAMPLE = re.compile(r"^( *)(>>> .*(?:\n\1\S.*)*)", re.MULTILINE)
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):`~?([^`]*)`")


class Docstrings(Extension):
    """Give each name of an entry its own line, and show roles as the names that they stand for."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = _LITERAL.sub(":", _ROLE.sub(r"`\1`", obj.docstring.value))
            text = _EXAMPLE.sub(r"\1```python\n\1\2\n\1```", text)
            obj.docstring.value = _ENTRY.sub(_split, text)


def _split(entry: re.Match[str]) -> str:
    indent, first, *others = entry[1], *entry[2].split(", ")
    return "\n".join([f"{indent}{first}: {entry[3]}", *(f"{indent}{name}: see `{first}`." for name in others)])
