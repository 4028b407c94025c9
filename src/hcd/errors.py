"""Exception tree: every error that the package raises on purpose, and the wording that messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class HcdError(Exception):
    """Base of all errors raised on purpose. The message names the file or value, what is wrong and the remedy.

    ``exit_code`` is the exit code of a command that ends with the error: 1 for failed inputs, 2 for wrong usage.
    """

    exit_code = 1


class UsageError(HcdError, ValueError):
    """A setting or argument has a value that cannot be used."""

    exit_code = 2


class ShapeError(HcdError, ValueError):
    """A tensor has a shape, dtype or range that the operation does not take."""


class ImageError(HcdError, OSError):
    """A picture cannot be read."""


class PictureTooLargeError(HcdError, MemoryError):
    """A picture does not fit into memory with the chosen settings."""


class OutputError(HcdError, OSError):
    """A result cannot be written."""


class MetadataError(HcdError, ValueError):
    """The metadata of an LR file are missing, damaged or of an unknown version."""


class ModelError(HcdError, LookupError):
    """A model is unknown, not installed, or its weights do not fit."""

    exit_code = 2


class WeightsError(HcdError, ValueError):
    """A weights file cannot be read or does not fit the architecture."""

    exit_code = 2


class MissingDependencyError(HcdError, ImportError):
    """An optional extra is needed but not installed."""

    exit_code = 2


class TrainingError(HcdError, RuntimeError):
    """Training cannot go on; the message names the last good checkpoint."""


def printable(text: str) -> str:
    """Escape control characters and undecodable bytes, so that text from outside is safe in a message."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def named(kind: str, name: str, known: Mapping[str, T]) -> T:
    """Look up a name.

    Raises:
        UsageError: unknown name; the message lists the known names and the nearest one.
    """
    if name not in known:
        raise UsageError(unknown_name(kind, name, known))
    return known[name]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown name: it lists the known names and the nearest one."""
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f" Did you mean '{folded[nearest[0]]}'?" if nearest else ""
    return f"unknown {kind} '{name}'.{hint} Known: {', '.join(known)}"
