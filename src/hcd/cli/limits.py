"""The option that says how large a picture may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def max_pixels_option(command: F) -> F:
    """``--max-pixels``, of the picture that is read and of the one that is rebuilt; None for the default."""
    return click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        help="Refuse larger pictures: before decoding, and whatever an LR file claims. Default: 178956970.",
    )(command)
