"""The session of one report: its models and images, the cache, and the jobs that failed."""

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
from hcd_lab.bench import BenchmarkImage
from hcd_lab.report.config import ReportConfig, split_model
from hcd_lab.report.datasets import find_sets
from hcd_lab.report.jobs import Job, Solve
from hcd_lab.report.store import Outcome, Store


class Progress(ABC):
    """Receives the progress of a report."""

    @abstractmethod
    def plan(self, cached: int, ahead: Sequence[Job], workers: int) -> None:
        """Take the number of cached outcomes, the jobs ahead, and how many processes share them."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Note that this process begins a job."""

    @abstractmethod
    def evaluation(self, job: Job, entry: Evaluation) -> None:
        """Note a gradient evaluation of a job."""

    @abstractmethod
    def done(self, job: Job, seconds: float) -> None:
        """Note that this process or another one has finished a job."""

    def failed(self, job: Job) -> None:  # noqa: B027 - optional
        """Note that a job failed."""


@final
class Failed(Exception):  # noqa: N818 - a gap in the report, not an error of the run
    """Raised for a job that failed; the session has noted why."""


@final
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Configuration of a session, in this process or in a worker.

    Attributes:
        report: configuration of the report.
        data: folder with a folder of pictures for each set; None for the sample photographs.
        cache: folder of outcomes.
        device: device of the models.
    """

    report: ReportConfig
    data: Path | None
    cache: Path
    device: str


@final
@dataclass(kw_only=True)
class Session:
    """The models and images of a report, and what jobs on them measured.

    Attributes:
        models: models, in the order of the configuration.
        images: uncropped images of all sets that were found.
        missing: names of the other sets.
        failed: title of each failed job → why.
    """

    config: ReportConfig
    models: Sequence[Rescaler]
    images: Sequence[BenchmarkImage]
    store: Store
    missing: Sequence[str] = ()
    progress: Progress | None = None
    failed: dict[str, str] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def outcome(self, job: Job) -> Outcome:
        """Return what a job measured: from the cache, else by running it.

        Raises:
            Failed: the job failed, now or earlier in this session.
        """
        if job.key in self._failed:
            # Copies of an image have jobs of the same key and other titles.
            self.failed.setdefault(printable(job.title), self._failed[job.key])
            raise Failed
        cached = self.store.get(job.key)
        if cached is not None:
            return cached
        if self.progress is not None:
            self.progress.start(job)
        started = time.perf_counter()
        progress = self.progress
        try:
            found = job.run(None if progress is None else lambda entry: progress.evaluation(job, entry))
        except Failed:
            # A job that this one builds on failed, and is noted already.
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
        """Return the outcomes of several jobs; None if one of them failed."""
        try:
            return [self.outcome(job) for job in jobs]
        except Failed:
            return None

    @property
    def datasets(self) -> list[str]:
        """Names of the sets that were found."""
        return list(dict.fromkeys(image.dataset for image in self.images))

    def images_of(self, dataset: str) -> list[BenchmarkImage]:
        """Return the images of a set."""
        return [image for image in self.images if image.dataset == dataset]

    @property
    def examples(self) -> list[BenchmarkImage]:
        """A few uncropped images, spread evenly over the first set."""
        first = self.images_of(self.datasets[0])
        count = min(self.config.study.pictures, len(first))
        return [first[index * len(first) // count] for index in range(count)]

    @property
    def study(self) -> list[BenchmarkImage]:
        """The examples cropped to their centers, for chapters that try many settings."""
        return [replace(image, crop=self.config.study.crop) for image in self.examples]

    def solve(self, image: BenchmarkImage, model: Rescaler, preset: str, **settings: object) -> Solve:
        """Return the job that downscales an image under a preset."""
        return Solve(image=image, model=model, preset=preset, settings=tuple(settings.items()))


def open_session(run: RunConfig, progress: Progress | None = None) -> Session:
    """Find the images and load the models.

    Raises:
        UsageError: no set was found, or two models have the same name.
        ModelError, WeightsError: a model cannot be loaded.
    """
    config = run.report
    images, missing = find_sets(run.data, config.sets, config.largest)
    if not images:
        raise UsageError(
            f"{run.data}: holds none of the sets {', '.join(config.sets)}; give each a folder of that name with its "
            "pictures"
        )
    return Session(
        config=config,
        models=_load_all(config, run.device),
        images=images,
        missing=missing,
        store=Store(run.cache),
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
