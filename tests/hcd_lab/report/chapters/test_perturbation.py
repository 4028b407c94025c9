"""Where the perturbation lies: measured on planted ones, and told from solved ones."""

from __future__ import annotations

import math

import pytest
import torch

from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.blocks import Gallery, Table
from hcd_lab.report.chapters.perturbation import Perturbation, place
from hcd_lab.report.config import ReportConfig, Study
from hcd_lab.report.results import ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Store
from tests.conftest import make_smooth_picture, make_tiny_irn


def read_picture():
    return make_smooth_picture(64, 64)


IMAGE = BenchmarkImage(dataset="set", name="waves", digest="w", read=read_picture)


def step_picture():
    picture = torch.full((1, 3, 40, 40), 0.2)
    picture[..., 20:] = 0.8
    return picture


class TestPlace:
    def test_on_the_edge(self):
        plain = step_picture()
        lr = plain.clone()
        lr[..., 19:21] += 2 / 255
        found = place(IMAGE, plain, lr)
        assert found.edges == pytest.approx(1)
        assert found.on_edges == pytest.approx(5)
        assert found.correlation > 0.3
        assert found.rms == pytest.approx(2 * math.sqrt(2 / 40), rel=1e-4)

    def test_everywhere(self):
        plain = step_picture()
        # Exactly representable, so that every pixel has the same energy.
        found = place(IMAGE, plain * 0, plain * 0 + 0.25)
        assert found.on_edges == found.on_corners == pytest.approx(1)
        assert math.isnan(found.correlation)

    def test_nowhere(self):
        found = place(IMAGE, step_picture(), step_picture())
        assert found.rms == 0
        assert math.isnan(found.on_edges)


@pytest.fixture
def session(tmp_path):
    return Session(
        config=ReportConfig(models=("tiny",), study=Study(pictures=1, crop=32)),
        models=[make_tiny_irn(2)],
        images=[IMAGE],
        store=Store(tmp_path),
    )


@pytest.mark.slow
def test_tells_both_presets_and_shows_the_picture(session):
    results = ResultTable()
    blocks = Perturbation().blocks(session, results)
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert [row[1] for row in table.rows] == ["paper", "balanced"]
    (gallery,) = [block for block in blocks if isinstance(block, Gallery)]
    assert len(gallery.images) == 2
    enrichments = [e.value for e in results.rows() if e.metric == "edge_enrichment" and e.picture == "waves"]
    assert len(enrichments) == 2
    assert all(0 <= value <= 5 for value in enrichments)


def test_a_perturbation_of_nothing_is_not_counted(session):
    model = session.models[0]
    plain = session.outcome(session.solve(IMAGE, model, "plain"))
    for preset in ("paper", "balanced"):
        session.store.put(session.solve(IMAGE, model, preset).key, plain)
    table = ResultTable()
    Perturbation().blocks(session, table)
    assert [entry.value for entry in table.rows() if entry.metric == "pictures"] == [0, 0]
