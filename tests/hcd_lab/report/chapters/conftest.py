"""A session of two small pictures and one small model, for chapters that try many settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from hcd.collab import get_settings
from hcd.evaluate import measure
from hcd.evaluate.measurement import Row
from hcd.image import Picture
from hcd_lab.report.config import ReportConfig, Study
from hcd_lab.report.datasets import BenchmarkImage
from hcd_lab.report.result_table import Entry, ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Store
from tests.conftest import make_smooth_picture, make_tiny_irn

_SIDES = {"waves": (20, 26), "more-waves": (26, 20)}
_STUDY = Study(
    pictures=2,
    crop=None,
    grid=(0, 2),
    rules=("gradient", "lbfgs", "adam"),
    rule_evaluations=6,
    epsilons=(0.3, 2.0),
    published_epsilons=(0.1,),
    step_sizes=(5.0,),
    norms=("l2", "linf"),
    losses=("rgb", "y"),
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The session, and what tests compare a chapter's numbers with."""

    session: Session
    _measured: dict[str, list[Row]] = field(default_factory=dict)

    def rows(self, preset: str, **settings: Any) -> list[Row]:
        """Measured directly, without jobs and store."""
        model, subjects = self.session.models[0], self.session.study
        key = repr((preset, settings, [subject.name for subject in subjects]))
        if key not in self._measured:
            self._measured[key] = [
                measure(
                    Picture(rgb=subject.read()),
                    model,
                    get_settings(preset, **settings),
                    image=subject.name,
                    preset=preset,
                ).row
                for subject in subjects
            ]
        return self._measured[key]

    def gain(self, preset: str, figure: str = "psnr_y", **settings: Any) -> float:
        """Mean gain over plain of directly measured rows."""
        pairs = zip(self.rows(preset, **settings), self.rows("plain"), strict=True)
        gains = [getattr(own, figure) - getattr(plain, figure) for own, plain in pairs]
        return sum(gains) / len(gains)


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Bench:
    model = make_tiny_irn(2)
    subjects = [
        BenchmarkImage(dataset="waves", name=name, digest=name, read=lambda sides=sides: make_smooth_picture(*sides))
        for name, sides in _SIDES.items()
    ]
    session = Session(
        config=ReportConfig(models=(model.name,), study=_STUDY),
        models=[model],
        subjects=subjects,
        store=Store(tmp_path_factory.mktemp("outcomes")),
    )
    return Bench(session=session)


@pytest.fixture(scope="session")
def bench_of_one(bench) -> Bench:
    """With one picture, for chapters that need long runs."""
    config = bench.session.config
    config = replace(config, study=replace(config.study, pictures=1))
    return Bench(session=replace(bench.session, config=config))


def only(table: ResultTable, variant: str, figure: str, picture: str = "mean") -> Entry:
    """The one row of this kind, of either file."""
    rows = [*table.rows(), *table.rows(of_machine=True)]
    (found,) = [row for row in rows if (row.variant, row.figure, row.picture) == (variant, figure, picture)]
    return found
