"""The result of a benchmark: rows of measurements, the same for all benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hcd.errors import UsageError

Row = Mapping[str, Any]
"""One measurement: field → text, number, or None where nothing was measured."""
OnRow = Callable[[Row], None]


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Measurements of one run of ``hcd bench``.

    Attributes:
        benchmark: ``solver``, ``evaluation`` or ``pictures``.
        machine: facts that times depend on, from :func:`hcd_lab.bench.describe_machine`.
        rows: measurements, in order; each benchmark states their fields.
        failed: what could not be measured, and why.
    """

    benchmark: str
    machine: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    failed: Sequence[str] = ()

    def select(self, **fields: Any) -> list[Row]:
        """Return the rows with these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in fields.items())]

    def values(self, name: str) -> list[Any]:
        """Return the distinct values of a field, in order."""
        return list(dict.fromkeys(row[name] for row in self.rows))

    def as_json(self) -> dict[str, Any]:
        """Return nested dictionaries and lists."""
        return asdict(self)

    @classmethod
    def joined(cls, values: Sequence[Any], *, benchmark: str, fields: Sequence[str]) -> BenchResult:
        """Join what :meth:`as_json` made of several runs of a benchmark.

        Raises:
            UsageError: something else, or a row lacks one of ``fields``.
        """
        try:
            rows = [row for value in values for row in value["rows"]]
            failed = [failure for value in values for failure in value["failed"]]
            same = all(value["benchmark"] == benchmark for value in values)
            if not same or any(name not in row for row in rows for name in fields):
                raise KeyError(benchmark)
            machine = values[0]["machine"]
        except (KeyError, TypeError, IndexError) as error:
            raise UsageError(f"not a result of 'hcd bench {benchmark}'; give a file that its --json wrote") from error
        return cls(benchmark=benchmark, machine=machine, rows=rows, failed=failed)


def ratio(reference: float | None, own: float | None) -> float | None:
    """Return how many times as much the reference takes; None where one of both was not measured."""
    return None if reference is None or not own else reference / own
