"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

if TYPE_CHECKING:
    from hcd.rescaler import Rescaler

F = TypeVar("F", bound=Callable[..., Any])


def path_argument(name: str, **extra: Any) -> Callable[[F], F]:
    return click.argument(name, type=click.Path(path_type=Path), **extra)


def model_options(default: str | None) -> Callable[[F], F]:
    """Add ``--model``, ``--weights`` and ``--device``."""
    shown = "the one that the LR file names" if default is None else default

    def add(command: F) -> F:
        command = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")(
            command
        )
        weights = click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="Weights of that model: a .safetensors or .pth file; for GRAIN the folder of the official files.",
        )
        command = weights(command)
        return click.option("--model", default=default, help=f"Model name, see 'hcd models'. Default: {shown}.")(
            command
        )

    return add


def out_option(text: str) -> Callable[[F], F]:
    return click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help=text)


class _Duration(click.ParamType[float]):
    """Duration: ``90``, ``90s``, ``25m`` or ``2h`` → seconds."""

    name = "duration"
    _UNITS: ClassVar[dict[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        number, unit = (text[:-1], text[-1]) if text[-1:] in self._UNITS else (text, "s")
        try:
            seconds = float(number) * self._UNITS[unit]
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self.fail(f"{value!r} is not a time; give seconds, or a number with s, m or h, such as 25m", param, ctx)
        return seconds


class _Size(click.ParamType[int]):
    """Size: ``4GiB``, ``900MiB`` or a number of bytes → bytes."""

    name = "size"
    _UNITS: ClassVar[dict[str, int]] = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip().lower()
        unit = next((unit for unit in self._UNITS if text.endswith(unit)), "")
        try:
            size = float(text.removesuffix(unit)) * self._UNITS.get(unit, 1)
        except ValueError:
            size = math.nan
        if not 0 < size < math.inf:
            self.fail(f"{value!r} is not a size; give bytes, or a number with MiB or GiB, such as 4GiB", param, ctx)
        return int(size)


def memory_option(command: F) -> F:
    """Add ``--memory``, in bytes."""
    return click.option(
        "--memory", type=_Size(), help="Memory limit, for instance 4GiB. Default: most of what is free."
    )(command)


def max_pixels_option(command: F) -> F:
    """Add ``--max-pixels``, which limits pictures that are read or rebuilt; None for the default."""
    return click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        help="Refuse larger pictures, before decoding and before rebuilding. Default: 178956970.",
    )(command)


def duration_option(name: str, *, help: str, required: bool = False) -> Callable[[F], F]:
    """Add an option for a time in seconds, given with or without a unit."""
    return click.option(name, type=_Duration(), help=help, required=required)


def json_flag(text: str) -> Callable[[F], F]:
    return click.option("--json", "as_json", is_flag=True, help=text)


def preset_option(default: str) -> Callable[[F], F]:
    return click.option("--preset", default=default, show_default=True, help="plain, paper, fast, balanced or best.")


def load_model(model: str, weights: Path | None, device: str) -> tuple[Rescaler, str]:
    """Load the model that these options name; return it and its device."""
    from hcd.zoo import load, pick_device

    device = pick_device(device)
    return load(model, weights=weights, device=device), device
