"""Where jobs are done: what was kept is read, what is missing is measured and kept, and what fails is named."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from hcd.collab import Evaluation
from hcd.errors import HcdError, UsageError, printable
from hcd.rescaler import Rescaler
from hcd.zoo import load
from hcd_lab.report.config import ReportConfig, split_model
from hcd_lab.report.datasets import BenchmarkImage, find_sets
from hcd_lab.report.jobs import Job, Solve
from hcd_lab.report.store import Outcome, Store


class Progress(ABC):
    """Is told how a report gets on."""

    @abstractmethod
    def plan(self, kept: int, ahead: Sequence[Job], workers: int) -> None:
        """How many outcomes are kept, what is to be measured, and by how many processes at once."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """A job that is not kept begins."""

    @abstractmethod
    def evaluation(self, job: Job, entry: Evaluation) -> None:
        """A gradient evaluation of it is done."""

    @abstractmethod
    def done(self, job: Job, seconds: float) -> None:
        """It is done, or another process has done one."""

    def failed(self, job: Job) -> None:  # noqa: B027 - most need not know
        """It could not be done, and is not asked for again."""


@final
class Failed(Exception):  # noqa: N818 - told as a gap, not an error
    """Raised for a job that could not be done; it is noted."""


@final
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a session is opened from, here or in another process.

    Attributes:
        data: a folder with a folder of pictures for each set; None for photographs of scikit-image.
        cache: where outcomes are kept.
        device: where the models run.
    """

    config: ReportConfig
    data: Path | None
    cache: Path
    device: str


@final
@dataclass(kw_only=True)
class Session:
    """The pictures and models of a report, and what jobs on them found.

    Attributes:
        models: in the order of the configuration.
        subjects: whole pictures of all sets that are there.
        missing: names of the sets that are not.
        failed: title of each job that could not be done → why.
    """

    config: ReportConfig
    models: Sequence[Rescaler]
    subjects: Sequence[BenchmarkImage]
    store: Store
    missing: Sequence[str] = ()
    progress: Progress | None = None
    failed: dict[str, str] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def outcome(self, job: Job) -> Outcome:
        """What a job found, now or earlier.

        Raises:
            Failed: it could not be done.
        """
        if job.key in self._failed:
            # A copy of a picture is the same job under another name.
            self.failed.setdefault(printable(job.title), self._failed[job.key])
            raise Failed
        kept = self.store.get(job.key)
        if kept is not None:
            return kept
        if self.progress is not None:
            self.progress.start(job)
        started = time.perf_counter()
        progress = self.progress
        try:
            found = job.run(None if progress is None else lambda entry: progress.evaluation(job, entry))
        except Failed:
            # What it builds on could not be done, and is noted.
            if progress is not None:
                progress.failed(job)
            raise
        except HcdError as error:
            self._failed[job.key] = self.failed[printable(job.title)] = printable(str(error))
            if progress is not None:
                progress.failed(job)
            raise Failed from error
        seconds = time.perf_counter() - started
        self.store.put(job.key, found)
        if self.progress is not None:
            self.progress.done(job, seconds)
        return found

    def outcomes(self, jobs: Sequence[Job]) -> list[Outcome] | None:
        """What these found; None where one of them could not be done."""
        try:
            return [self.outcome(job) for job in jobs]
        except Failed:
            return None

    @property
    def datasets(self) -> list[str]:
        """Names of the sets that are there."""
        return list(dict.fromkeys(subject.dataset for subject in self.subjects))

    def of(self, dataset: str) -> list[BenchmarkImage]:
        """The pictures of a set."""
        return [subject for subject in self.subjects if subject.dataset == dataset]

    @property
    def examples(self) -> list[BenchmarkImage]:
        """A few whole pictures, spread evenly over the first set."""
        first = self.of(self.datasets[0])
        count = min(self.config.study.pictures, len(first))
        return [first[index * len(first) // count] for index in range(count)]

    @property
    def study(self) -> list[BenchmarkImage]:
        """The same pictures as the parts with many settings use them: the middle of each."""
        return [replace(subject, crop=self.config.study.crop) for subject in self.examples]

    def solve(self, subject: BenchmarkImage, model: Rescaler, preset: str, **settings: object) -> Solve:
        """The job of one picture under a preset."""
        return Solve(subject=subject, model=model, preset=preset, settings=tuple(settings.items()))


def open_session(order: RunConfig, progress: Progress | None = None) -> Session:
    """Find the pictures and load the models.

    Raises:
        UsageError: none of the sets is there, or two models are the same.
        ModelError, WeightsError: a model cannot be loaded.
    """
    config = order.config
    subjects, missing = find_sets(order.data, config.sets, config.largest)
    if not subjects:
        raise UsageError(
            f"{order.data}: holds none of the sets {', '.join(config.sets)}; give each a folder of that name with its "
            "pictures"
        )
    return Session(
        config=config,
        models=_load_all(config, order.device),
        subjects=subjects,
        missing=missing,
        store=Store(order.cache),
        progress=progress,
    )


def _load_all(config: ReportConfig, device: str) -> list[Rescaler]:
    found: dict[str, tuple[str, Rescaler]] = {}
    for text in config.models:
        name, file = split_model(text)
        model = load(name, weights=file or None, device=device)
        if model.name in found:
            raise UsageError(f"models '{found[model.name][0]}' and '{text}': both are {model.name}; leave one out")
        found[model.name] = text, model
    return [model for _, model in found.values()]
