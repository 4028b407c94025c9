"""The results of a report: every number in one table, from which the page and the CSV files are made."""

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
class Label:
    """Label of a number: the measurement that it belongs to.

    Attributes:
        chapter: slug of its chapter.
        model, dataset, picture: what was measured; empty where it does not apply, ``mean`` for a mean over pictures.
        variant: preset or settings.
    """

    chapter: str
    model: str = ""
    dataset: str = ""
    picture: str = ""
    variant: str = ""

    def with_(self, **changes: str) -> Label:
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number as the page shows it, with the id of its row."""

    text: str
    row: str


@dataclass(frozen=True, kw_only=True)
class ResultRow(Label):
    """A number with its label.

    Attributes:
        id: ``q17``, or ``t17`` for what depends on the machine.
        metric: name of the quantity, such as ``psnr_y``.
        unit: ``dB``, ``s``, …; empty for ratios and counts.
        value: NaN where there is none.
    """

    id: str
    metric: str
    unit: str
    value: float

    def shown(self, form: str = ".2f") -> Number:
        """Format the number for the page."""
        if math.isnan(self.value):
            return Number(text="–", row=self.id)
        text = format(self.value, form).replace("-", "−").replace("inf", "∞")
        return Number(text=text, row=self.id)


COLUMNS = ("id", *(field.name for field in fields(Label)), "metric", "unit", "value")
"""Columns of the CSV files."""
MEAN = "mean"


@final
class ResultTable:
    """The rows of a report in the order in which they were added."""

    def __init__(self) -> None:
        self._rows: list[ResultRow] = []
        self._counts = {"q": 0, "t": 0}

    def add(self, label: Label, metric: str, value: float, unit: str = "", *, of_machine: bool = False) -> ResultRow:
        """Add a number. ``of_machine`` marks times, which differ from run to run."""
        kind = "t" if of_machine else "q"
        self._counts[kind] += 1
        row = ResultRow(id=f"{kind}{self._counts[kind]}", metric=metric, value=float(value), unit=unit, **asdict(label))
        self._rows.append(row)
        return row

    def add_mean(
        self, label: Label, metric: str, values: Sequence[float], unit: str = "", *, of_machine: bool = False
    ) -> ResultRow:
        """Add the mean over pictures; NaN for no picture."""
        # fmean raises on infinities of both signs.
        finite = all(map(math.isfinite, values))
        mean = math.nan if not values else fmean(values) if finite else sum(values) / len(values)
        return self.add(label.with_(picture=MEAN), metric, mean, unit, of_machine=of_machine)

    def add_interval(
        self, label: Label, metric: str, differences: Sequence[float], unit: str = ""
    ) -> tuple[ResultRow, ResultRow]:
        """Add the mean of paired differences, and the half width of its 95 % confidence interval.

        The half width is NaN for fewer than two pictures and for differences that are not finite.
        """
        mean = self.add_mean(label, metric, differences, unit)
        half = self.add(label.with_(picture=MEAN), f"{metric}_half_width_95", _half_width(differences), unit)
        return mean, half

    def rows(self, *, of_machine: bool = False) -> list[ResultRow]:
        """Return the rows of one CSV file."""
        return [row for row in self._rows if row.id.startswith("t" if of_machine else "q")]

    def csv(self, *, of_machine: bool = False) -> str:
        """Format rows as CSV with a header, in full precision."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows(of_machine=of_machine):
            writer.writerow([_exact(getattr(row, name)) for name in COLUMNS])
        return text.getvalue()


def _exact(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


def _half_width(differences: Sequence[float]) -> float:
    """Return the half width of Student's interval; differences are taken as independent and normal."""
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return math.nan
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingDependencyError("confidence intervals need SciPy; pip install 'hcd[report]'") from error
    return float(stats.t.ppf(0.975, len(differences) - 1)) * stdev(differences) / math.sqrt(len(differences))
