"""Every number of a report, a row each: what the page shows is taken from here, and the CSV files are this."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import fmean, stdev
from typing import Any, final

from hcd.errors import MissingDependencyError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A number and what it is of.

    Attributes:
        id: of its row, such as ``q17``, or ``t17`` for a time or an amount of memory, which belong to a machine.
        chapter: slug of the chapter that tells it.
        model, dataset, picture: what was measured; empty where it does not apply, ``mean`` for a mean over pictures.
        variant: preset or settings.
        figure: what is counted, such as ``psnr_y``.
        unit: ``dB``, ``s``, …; empty for ratios and counts.
        value: NaN where there is none.
    """

    id: str
    chapter: str
    model: str
    dataset: str
    picture: str
    variant: str
    figure: str
    unit: str
    value: float

    def shown(self, form: str = ".2f") -> Number:
        """The number as a page shows it."""
        if math.isnan(self.value):
            return Number(text="–", row=self.id)
        text = format(self.value, form).replace("-", "−").replace("inf", "∞")
        return Number(text=text, row=self.id)


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number on the page, with the row of the CSV file that it comes from."""

    text: str
    row: str


@dataclass(frozen=True, kw_only=True)
class Of:
    """What a number is of; see :class:`Entry`."""

    chapter: str
    model: str = ""
    dataset: str = ""
    picture: str = ""
    variant: str = ""

    def with_(self, **changes: str) -> Of:
        return replace(self, **changes)


MEAN = "mean"


@final
class ResultTable:
    """The rows of one report, in the order in which they were written."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._counts = {"q": 0, "t": 0}

    def add(self, of: Of, figure: str, value: float, unit: str = "", *, of_machine: bool = False) -> Entry:
        """Write a number down. ``of_machine`` marks what another run on another machine finds otherwise."""
        kind = "t" if of_machine else "q"
        self._counts[kind] += 1
        entry = Entry(id=f"{kind}{self._counts[kind]}", figure=figure, value=float(value), unit=unit, **asdict(of))
        self._entries.append(entry)
        return entry

    def add_mean(
        self, of: Of, figure: str, values: Sequence[float], unit: str = "", *, of_machine: bool = False
    ) -> Entry:
        """The mean over pictures, NaN of none."""
        # ``fmean`` refuses infinities of both signs.
        finite = all(map(math.isfinite, values))
        mean = math.nan if not values else fmean(values) if finite else sum(values) / len(values)
        return self.add(of.with_(picture=MEAN), figure, mean, unit, of_machine=of_machine)

    def add_interval(self, of: Of, figure: str, differences: Sequence[float], unit: str = "") -> tuple[Entry, Entry]:
        """Mean of paired differences, and the half width of its 95 % confidence interval.

        The half width is NaN below two pictures, and where a difference is not finite.
        """
        mean = self.add_mean(of, figure, differences, unit)
        half = self.add(of.with_(picture=MEAN), f"{figure}_half_width_95", _half_width(differences), unit)
        return mean, half

    def rows(self, *, of_machine: bool = False) -> list[Entry]:
        return [entry for entry in self._entries if entry.id.startswith("t" if of_machine else "q")]

    def csv(self, *, of_machine: bool = False) -> str:
        """Rows as CSV with a header; the same numbers give the same text."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [f.name for f in fields(Entry)]
        writer.writerow(names)
        for entry in self.rows(of_machine=of_machine):
            writer.writerow([_exact(getattr(entry, name)) for name in names])
        return text.getvalue()


def _exact(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


def _half_width(differences: Sequence[float]) -> float:
    """Of Student's interval: over pictures, the differences are taken as independent and normal."""
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return math.nan
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingDependencyError("confidence intervals need SciPy; pip install 'hcd[report]'") from error
    return float(stats.t.ppf(0.975, len(differences) - 1)) * stdev(differences) / math.sqrt(len(differences))
