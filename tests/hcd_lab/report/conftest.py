"""Small pictures in folders, a small configuration, a session on them, and a model that needs no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hcd
from hcd.collab import Evaluation
from hcd_lab.report import Job, Progress, ReportConfig, Study
from hcd_lab.report.datasets import find_sets
from hcd_lab.report.session import Session
from hcd_lab.report.store import Store

TINY = ReportConfig(
    models=("bicubic-x2",),
    sets=("Set5", "Set14"),
    presets=("plain", "paper", "balanced"),
    best_sets=(),
    gallery=0,
    study=Study(pictures=1, crop=32, grid=(0, 1)),
)


def write_picture(path: Path, *, width: int = 40, height: int = 36, seed: int = 0) -> Path:
    """Waves of a few frequencies, and noise, without which every preset would restore them perfectly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:height, :width]
    waves = np.stack([np.sin(rows / 3 + c + seed) * np.cos(columns / 4 - c) for c in range(3)], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 8, waves.shape)
    Image.fromarray((127 + 90 * waves + noise).round().clip(0, 255).astype(np.uint8)).save(path)
    return path


class Diary(Progress):
    """Records the progress of a report."""

    def __init__(self) -> None:
        self.cached = -1
        self.ahead: list[str] = []
        self.started: list[str] = []
        self.finished: list[str] = []
        self.gave_up: list[str] = []
        self.evaluations = 0

    def plan(self, cached: int, ahead: Sequence[Job], workers: int) -> None:
        self.cached, self.ahead = cached, [job.title for job in ahead]

    def start(self, job: Job) -> None:
        self.started.append(job.title)

    def evaluation(self, job: Job, entry: Evaluation) -> None:
        self.evaluations += 1

    def done(self, job: Job, seconds: float) -> None:
        assert seconds >= 0
        self.finished.append(job.title)

    def failed(self, job: Job) -> None:
        self.gave_up.append(job.title)


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder whose Set5 has two pictures."""
    folder = tmp_path / "data"
    for seed, name in enumerate(("bird", "head")):
        write_picture(folder / "Set5" / f"{name}.png", seed=seed)
    return folder


@pytest.fixture
def session(data, tmp_path):
    """``session(config=…, models=…)`` has the pictures of ``data``; its outcomes are kept from call to call."""

    def make(config: ReportConfig = TINY, models=None, progress: Progress | None = None) -> Session:
        return Session(
            config=config,
            models=[hcd.load(name) for name in config.models] if models is None else models,
            images=find_sets(data, config.sets, config.largest)[0],
            store=Store(tmp_path / "kept"),
            progress=progress,
        )

    return make
