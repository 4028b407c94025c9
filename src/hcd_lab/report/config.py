"""Configuration of a report: the full one, the quick one, or one's own from a TOML file."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from hcd.collab import get_settings
from hcd.errors import MissingDependencyError, UsageError, unknown_name
from hcd.zoo import SPANDREL
from hcd_lab.report.datasets import KNOWN_SETS

# Makes pydantic reject unknown entries.
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Study:
    """Pictures and settings of the chapters that try many settings.

    Attributes:
        pictures: number of pictures, spread evenly over the first set that is found.
        crop: longest side of the center that is used; None for whole pictures.
        grid: evaluations of each stage in the table of iteration schemes.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    pictures: int = 3
    crop: int | None = 128
    grid: tuple[int, ...] = (0, 5, 10, 15, 30)

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise UsageError(f"study: pictures {self.pictures}: must be 1 or more")
        if self.crop is not None and self.crop < 32:
            raise UsageError(f"study: crop {self.crop}: must be 32 pixels or more")
        if 0 not in self.grid or min(self.grid) < 0 or len(self.grid) < 2 or len(set(self.grid)) != len(self.grid):
            raise UsageError(f"study: grid {self.grid}: needs 0 and larger numbers of evaluations, each once")


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Everything that determines what a report measures.

    Attributes:
        models: model names, or ``NAME=FILE`` with a weights file.
        sets: folder names of the sets, see :data:`hcd_lab.report.KNOWN_SETS`.
        presets: presets of ``collaborate``, among them ``plain``, ``paper`` and ``balanced``, which chapters compare.
        best_sets: sets on which the preset ``best`` is measured too.
        largest: number of pictures per set at most, the first by name; None for all.
        gallery: number of pictures per model in the visual comparison.
        study: pictures and settings of the chapters that try many settings.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    models: tuple[str, ...] = ("irn-x4", "irn-x2")
    sets: tuple[str, ...] = tuple(KNOWN_SETS)
    presets: tuple[str, ...] = ("plain", "paper", "fast", "balanced")
    best_sets: tuple[str, ...] = ("Set5",)
    largest: int | None = None
    gallery: int = 3
    study: Study = field(default_factory=Study)

    def __post_init__(self) -> None:
        for name in ("models", "sets", "presets"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise UsageError(f"{name} {values}: name at least one, and each once")
        names = [split_model(model)[0] for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"models {self.models}: '{name}' twice; a report tells models apart by name")
        for name in self.sets:
            if not name or Path(name).name != name:
                raise UsageError(f"sets: '{name}': give the name of a folder, without a path")
        for preset in self.presets:
            get_settings(preset)
        for needed in ("plain", "paper", "balanced"):
            if needed not in self.presets:
                raise UsageError(f"presets {self.presets}: a report compares with '{needed}'; add it")
        if self.gallery < 0 or (self.largest is not None and self.largest < 1):
            raise UsageError(f"gallery {self.gallery}, largest {self.largest}: must be 0 or more, and 1 or more")

    @property
    def hash(self) -> str:
        """Hash of the configuration, twelve digits, independent of the folders of weights files."""
        text = json.dumps(asdict(self.portable), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def portable(self) -> ReportConfig:
        """The configuration with weights files named without their folders, as the report shows it."""
        return replace(self, models=tuple(map(_portable, self.models)))

    def toml(self) -> str:
        """Return the TOML text that :func:`read_config` reads."""
        entries = asdict(self)
        study = entries.pop("study")
        # TOML has no null.
        if study["crop"] is None:
            study["crop"] = WHOLE
        return f"{_toml(entries)}\n[study]\n{_toml(study)}"


WHOLE = 0
"""Value of ``crop`` in a TOML file for whole pictures."""


def split_model(text: str) -> tuple[str, str]:
    """Split ``NAME=FILE``; the file is empty for a ``NAME`` alone."""
    if text.startswith(SPANDREL):
        return text, ""
    name, _, file = text.partition("=")
    return name, file


def _portable(model: str) -> str:
    if model.startswith(SPANDREL):
        return SPANDREL + Path(model.removeprefix(SPANDREL)).name
    name, file = split_model(model)
    return f"{name}={Path(file).name}" if file else name


def _toml(entries: dict[str, Any]) -> str:
    # JSON numbers, strings and lists are valid TOML.
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in entries.items() if value is not None
    )


FULL = ReportConfig()
QUICK = ReportConfig(
    sets=("Set5",),
    best_sets=(),
    gallery=2,
    study=Study(pictures=2, grid=(0, 5, 15)),
)


def read_config(path: Path) -> ReportConfig:
    """Read a configuration from a TOML file; omitted entries are those of :data:`FULL`.

    Raises:
        UsageError: the file cannot be read, or an entry is unknown or invalid.
        MissingDependencyError: pydantic is not installed.
    """
    try:
        entries: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as TOML ({error}); see docs/report.md for an example") from error
    try:
        from pydantic import TypeAdapter, ValidationError
    except ImportError as error:
        raise MissingDependencyError(f"{path}: reading it needs pydantic; pip install 'hcd[report]'") from error
    study = entries.get("study")
    if isinstance(study, dict) and study.get("crop") == WHOLE:
        study["crop"] = None
    try:
        # In strict mode, pydantic only takes lists for tuples when it reads JSON. Dates become text.
        return TypeAdapter(ReportConfig).validate_json(json.dumps(entries, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{path}: {_reason(first['type'], first['loc'], first['msg'])}") from error


def _reason(kind: str, place: Sequence[int | str], message: str) -> str:
    """Phrase an error of pydantic like other errors of this package."""
    if kind == "unexpected_keyword_argument":
        record = Study if len(place) > 1 else ReportConfig
        return unknown_name("entry", str(place[-1]), [entry.name for entry in fields(record)])
    if kind == "value_error":  # raised by the dataclasses
        return message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, place))}: {message.replace('valid array', 'list').replace('an object', 'a table')}"
