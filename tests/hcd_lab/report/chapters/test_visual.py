"""The gallery: which pictures, which part of them, and what stands below."""

from __future__ import annotations

import pytest
import torch

from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.blocks import Gallery
from hcd_lab.report.chapters.visual import Visual, best_window, most_gained
from hcd_lab.report.config import ReportConfig
from hcd_lab.report.results import ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Store
from tests.conftest import make_smooth_picture, make_tiny_irn


class TestBestWindow:
    def test_is_where_the_difference_was_planted(self):
        before, after = torch.ones(64, 80), torch.ones(64, 80)
        before[24:40, 48:64] = 2
        assert best_window(before, after, 16, 4) == (24, 48, 16)

    def test_leaves_the_border_out(self):
        before, after = torch.ones(64, 80), torch.ones(64, 80)
        before[:4] = 9
        before[20, 30] = 2
        top, left, side = best_window(before, after, 16, 4)
        assert top <= 20 < top + side
        assert left <= 30 < left + side

    def test_is_smaller_in_a_small_picture(self):
        assert best_window(torch.ones(30, 64), torch.zeros(30, 64), 96, 4) == (4, 4, 20)


@pytest.fixture
def session(tmp_path):
    def picture(name, width):
        return BenchmarkImage(dataset="set", name=name, digest=name, read=lambda: make_smooth_picture(48, width))

    return Session(
        config=ReportConfig(models=("tiny",), gallery=1),
        models=[make_tiny_irn(2)],
        images=[picture("a", 48), picture("b", 64)],
        store=Store(tmp_path),
    )


def outcome(psnr_y):
    return {"psnr_y": psnr_y}


def plant(session, gains):
    for image, gain in zip(session.images, gains, strict=True):
        for preset, value in (("plain", 30.0), ("paper", 30.0), ("balanced", 30.0 + gain)):
            session.store.put(session.solve(image, session.models[0], preset).key, outcome(value))


@pytest.mark.parametrize(("gains", "first"), [((0.5, 0.75), "b"), ((0.75, 0.5), "a"), ((0.5, 0.5), "a")])
def test_the_picture_that_gains_most_is_shown(session, gains, first):
    plant(session, gains)
    ((chosen, outcomes),) = most_gained(session, session.models[0])
    assert chosen.name == first
    assert outcomes["plain"]["psnr_y"] == 30.0


@pytest.mark.slow
def test_shows_original_lr_and_what_each_preset_restores(session):
    table = ResultTable()
    _, gallery = Visual().blocks(session, table)
    assert isinstance(gallery, Gallery)
    assert len(gallery.images) == 8
    assert gallery.rows == 2
    assert [entry.variant for entry in table.rows()] == ["plain", "paper", "balanced"]
    shown = [part.row for picture in gallery.images for part in picture.caption if not isinstance(part, str)]
    assert shown == ["q1", "q2", "q3"]
    assert all(picture.data.startswith(b"\x89PNG") for picture in gallery.images)


def test_needs_nothing_where_no_gallery_is_asked_for(session):
    session.config = ReportConfig(models=("tiny",), gallery=0)
    assert Visual().jobs(session) == []
    assert len(Visual().blocks(session, ResultTable())) == 1
