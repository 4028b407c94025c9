"""What a report measures: one frozen record, the default, the quick one, or read from a TOML file."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from hcd.collab import LOSSES, get_settings
from hcd.errors import MissingDependencyError, UsageError, unknown_name
from hcd.ops import NORMS
from hcd.solver import RULES, get_rule
from hcd.zoo import SPANDREL
from hcd_lab.report.datasets import KNOWN_SETS

# How pydantic reads these records: an entry that they do not have is an error, not a silence.
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Study:
    """The parts that try many settings, on a few pictures.

    Attributes:
        pictures: how many, spread evenly over the first set that is there.
        crop: largest side of the middle part that is used; None for whole pictures.
        grid: evaluations of each stage, for the table of iteration schemes.
        rules, rule_evaluations: step rules that are followed for so many evaluations of the LR stage.
        epsilons: radii in gray levels, with ``balanced``.
        published_epsilons: radii of the published ball, over the whole tensor in units of [0, 1].
        step_sizes: of the published step, in gray levels.
        norms: of balls around each picture.
        losses: names of what is minimized.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    pictures: int = 3
    crop: int | None = 128
    grid: tuple[int, ...] = (0, 5, 10, 15, 30)
    rules: tuple[str, ...] = tuple(RULES)
    rule_evaluations: int = 20
    epsilons: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    published_epsilons: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    step_sizes: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0)
    norms: tuple[str, ...] = ("l1", "l2", "linf")
    losses: tuple[str, ...] = ("rgb+y", "rgb", "y", "charbonnier")

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.rule_evaluations < 1:
            raise UsageError(
                f"study: pictures {self.pictures}, rule_evaluations {self.rule_evaluations}: must be 1 or more"
            )
        if self.crop is not None and self.crop < 32:
            raise UsageError(f"study: crop {self.crop}: must be 32 pixels or more")
        if 0 not in self.grid or min(self.grid) < 0 or len(self.grid) < 2:
            raise UsageError(f"study: grid {self.grid}: needs 0 and larger numbers of evaluations")
        for name in ("grid", "rules", "epsilons", "published_epsilons", "step_sizes", "norms", "losses"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise UsageError(f"study: {name} {values}: name at least one, and each once")
        for name in ("epsilons", "published_epsilons", "step_sizes"):
            values = getattr(self, name)
            if not all(0 < value < math.inf for value in values):
                raise UsageError(f"study: {name} {values}: needs numbers above 0")
        for rule in self.rules:
            get_rule(rule)
        for kind, names, known in (("norm", self.norms, NORMS), ("loss", self.losses, tuple(LOSSES))):
            for name in names:
                if name not in known:
                    raise UsageError(unknown_name(kind, name, known))


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Everything that decides what a report measures.

    Attributes:
        models: model names; a name that has no weights of its own as ``NAME=FILE``.
        sets: names of folders of pictures, see :data:`hcd_lab.report.KNOWN_SETS`.
        presets: of ``collaborate``; ``plain`` and ``paper`` are among them, since all others are compared with these.
        best_sets: sets on which ``best`` is measured too.
        largest: pictures per set at most, the first by name; None for all.
        gallery: pictures of the visual comparison, for each model.
        study: the parts that try many settings.
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
        """Names this record: twelve digits, the same wherever its weights lie."""
        text = json.dumps(asdict(self.portable), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def portable(self) -> ReportConfig:
        """The same, with files of weights without their folders: what a report may tell of it."""
        return replace(self, models=tuple(map(_portable, self.models)))

    def toml(self) -> str:
        """The text that :func:`read_config` reads as this."""
        entries = asdict(self)
        study = entries.pop("study")
        # Written out although it is the default, since TOML has no null.
        if study["crop"] is None:
            study["crop"] = WHOLE
        return f"{_toml(entries)}\n[study]\n{_toml(study)}"


WHOLE = 0
"""What a file says as ``crop`` of the studies for whole pictures."""


def split_model(text: str) -> tuple[str, str]:
    """``NAME=FILE`` → name and file; the file is empty where none is given."""
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
    # JSON of numbers, text and lists of them is TOML.
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in entries.items() if value is not None
    )


FULL = ReportConfig()
QUICK = ReportConfig(
    sets=("Set5",),
    best_sets=(),
    gallery=2,
    study=Study(
        pictures=2,
        crop=128,
        grid=(0, 5, 15),
        rule_evaluations=12,
        epsilons=(1.0, 4.0, 8.0),
        published_epsilons=(0.3, 1.0),
        step_sizes=(20.0, 40.0),
    ),
)


def read_config(path: Path) -> ReportConfig:
    """A configuration from a TOML file; what it leaves out is as in :data:`FULL`.

    Raises:
        UsageError: cannot be read, or an entry is unknown or cannot be used.
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
        # By way of JSON, whose lists are tuples even where "3" and true are no numbers. A date is text then.
        return TypeAdapter(ReportConfig).validate_json(json.dumps(entries, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{path}: {_reason(first['type'], first['loc'], first['msg'])}") from error


def _reason(kind: str, place: Sequence[int | str], message: str) -> str:
    """What pydantic found, in the words of other errors."""
    if kind == "unexpected_keyword_argument":
        record = Study if len(place) > 1 else ReportConfig
        return unknown_name("entry", str(place[-1]), [entry.name for entry in fields(record)])
    if kind == "value_error":  # said by the records themselves
        return message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, place))}: {message.replace('valid array', 'list').replace('an object', 'a table')}"
