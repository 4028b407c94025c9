"""Options that change the settings of a preset: the usual ones by name, all of them by ``--set name=value``."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click

from hcd.errors import UsageError, unknown_name

_OPTIONS = (
    click.option("--max-seconds", type=float, help="Stop each picture after this time, with the best found so far."),
    click.option(
        "--target-psnr",
        type=float,
        help="Stop at this PSNR of the restored picture (RGB, dB, before the last rounding).",
    ),
    click.option("--max-change", type=int, help="Largest change against the plain LR, in gray levels."),
    click.option("--min-lr-psnr", type=float, help="Least PSNR (RGB, dB) of the LR against the plain one."),
    click.option(
        "--set",
        "texts",
        multiple=True,
        metavar="NAME=VALUE",
        help="Change any setting of the preset, for instance steps_lr=5, steps_hr=2, loss=y, rule=adam, seed=1; "
        "repeatable. An unknown name lists all.",
    ),
)


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options to a command, which gets their values in one dictionary, ``changes``."""

    @functools.wraps(command)
    def bundled(*args: Any, texts: tuple[str, ...], **values: Any) -> Any:
        changes = {}
        for name in ("max_seconds", "target_psnr", "max_change", "min_lr_psnr"):
            value = values.pop(name)
            if value is not None:
                changes[name] = value
        for name, value in parse_changes(texts).items():
            if name in changes:
                raise UsageError(f"{name}: given twice, as an option and by --set; leave one out")
            changes[name] = value
        return command(*args, changes=changes, **values)

    wrapped: Callable[..., Any] = bundled
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """Parse ``name=value`` texts as settings, each with the type of its field.

    Raises:
        UsageError: a text has another form, names an unknown setting or one that is given twice, or its value has
            another type.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        if not equals:
            raise UsageError(f"--set {text}: needs NAME=VALUE, for instance --set steps_lr=5")
        known = _readable()
        if name not in known:
            raise UsageError(unknown_name("setting", name, known))
        if name in changes:
            raise UsageError(f"--set {text}: {name} is given twice; leave one out")
        try:
            changes[name] = known[name](value)
        except ValueError as error:
            raise UsageError(f"--set {text}: {error}") from error
    return changes


@functools.cache
def _readable() -> dict[str, Callable[[str], Any]]:
    """Return the settings that can be given as text, with the parser of each."""
    from hcd.collab import Loss, Settings
    from hcd.solver import StepRule

    readers: dict[Any, Callable[[str], Any]] = {
        int: _reader(int, "a whole number"),
        float: _reader(float, "a number"),
        bool: _flag,
        str: str,
        # By their names.
        Loss: str,
        StepRule: str,
    }
    readable = {}
    for name, kind in get_type_hints(Settings).items():
        kinds = [each for each in _alternatives(kind) if each is not types.NoneType]
        reader = readers.get(kinds[0]) if len(kinds) == 1 else None
        if reader is not None:
            readable[name] = reader if kinds == _alternatives(kind) else _or_none(reader)
    return readable


def _alternatives(kind: Any) -> list[Any]:
    """Return the types that a hint allows; for a literal, the type of its values."""
    if get_origin(kind) is Literal:
        return [type(get_args(kind)[0])]
    return list(get_args(kind)) if get_origin(kind) in (Union, types.UnionType) else [kind]


def _reader(kind: Callable[[str], Any], needed: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"'{text}' is not {needed}") from None

    return read


def _or_none(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.casefold() == "none" else reader(text)


def _flag(text: str) -> bool:
    flags = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.casefold() not in flags:
        raise ValueError(f"'{text}' is neither true nor false")
    return flags[text.casefold()]
