"""A session of two small pictures and one small model, for chapters that try many settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from hcd.collab import get_settings
from hcd.evaluate import measure
from hcd.evaluate.measurement import Row
from hcd.image import Picture
from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.config import ReportConfig, Study
from hcd_lab.report.results import ResultRow, ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Store
from tests.conftest import make_smooth_picture, make_tiny_irn

_SIDES = {"waves": (20, 26), "more-waves": (26, 20)}
_STUDY = Study(pictures=2, crop=None, grid=(0, 2))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The session, and what tests compare a chapter's numbers with."""

    session: Session
    _measured: dict[str, list[Row]] = field(default_factory=dict)

    def rows(self, preset: str, **settings: Any) -> list[Row]:
        """Measured directly, without jobs and store."""
        model, images = self.session.models[0], self.session.study
        key = repr((preset, settings, [image.name for image in images]))
        if key not in self._measured:
            chosen = get_settings(preset, **settings)
            self._measured[key] = [
                measure(Picture(rgb=image.read()), model, chosen, image=image.name, preset=preset).row
                for image in images
            ]
        return self._measured[key]

    def gain(self, preset: str, metric: str = "psnr_y", **settings: Any) -> float:
        """Mean gain over plain of directly measured rows."""
        pairs = zip(self.rows(preset, **settings), self.rows("plain"), strict=True)
        gains = [getattr(own, metric) - getattr(plain, metric) for own, plain in pairs]
        return sum(gains) / len(gains)


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Bench:
    model = make_tiny_irn(2)
    images = [
        BenchmarkImage(dataset="waves", name=name, digest=name, read=lambda sides=sides: make_smooth_picture(*sides))
        for name, sides in _SIDES.items()
    ]
    session = Session(
        config=ReportConfig(models=(model.name,), study=_STUDY),
        models=[model],
        images=images,
        store=Store(tmp_path_factory.mktemp("outcomes")),
    )
    return Bench(session=session)


@pytest.fixture(scope="session")
def bench_of_one(bench) -> Bench:
    """With one picture, for chapters that need long runs."""
    config = bench.session.config
    config = replace(config, study=replace(config.study, pictures=1))
    return Bench(session=replace(bench.session, config=config))


def only(table: ResultTable, variant: str, metric: str, picture: str = "mean") -> ResultRow:
    """The one row of this kind, of either file."""
    rows = [*table.rows(), *table.rows(of_machine=True)]
    (found,) = [row for row in rows if (row.variant, row.metric, row.picture) == (variant, metric, picture)]
    return found
