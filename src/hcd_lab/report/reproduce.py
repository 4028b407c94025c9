"""Make a report: open the session, run the jobs, write the page and its numbers."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from hcd import __version__
from hcd.errors import MissingDependencyError, UsageError, printable
from hcd.files import write_atomically
from hcd.jsontext import json_text
from hcd_lab.report.blocks import Figure, Section
from hcd_lab.report.chapters import CHAPTERS
from hcd_lab.report.config import FULL, QUICK, ReportConfig
from hcd_lab.report.datasets import KNOWN_SETS
from hcd_lab.report.jobs import Job
from hcd_lab.report.page import ModelFacts, PageFacts, render_page
from hcd_lab.report.parallel import distinct_jobs, run_parallel
from hcd_lab.report.results import ResultTable
from hcd_lab.report.session import Failed, Progress, RunConfig, Session, open_session


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A report that was written.

    Attributes:
        page: the HTML file.
        missing: names of sets that were not found.
        failed: title of each failed job → why.
    """

    page: Path
    missing: Sequence[str]
    failed: dict[str, str]


def reproduce(
    config: ReportConfig,
    folder: Path,
    *,
    data: Path | None = None,
    cache: Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    progress: Progress | None = None,
) -> Reproduction:
    """Measure everything that a configuration asks for, and write the report.

    Writes ``index.html``, ``metrics.csv`` (equal for equal configuration, models, pictures and machine),
    ``timings.csv``, ``report.json``, ``report.toml`` (the configuration) and ``figures/*.svg`` into ``folder``. Every
    outcome is cached at once, so an interrupted or changed run only measures what is missing.

    Args:
        data: folder with a folder of pictures for each set; None for the sample photographs of scikit-image.
        cache: folder of outcomes; None for ``cache`` inside ``folder``.
        device: device of the models.
        workers: number of processes, which share the threads of this one; each takes the memory of one.

    Raises:
        UsageError: no set was found, two models have the same name, or fewer than one worker.
        ModelError, WeightsError: a model cannot be loaded.
        OutputError: the folder cannot be written.
        MissingDependencyError: matplotlib or SciPy is not installed.
    """
    if workers < 1:
        raise UsageError(f"workers {workers}: must be 1 or more")
    _check_extras()
    run = RunConfig(report=config, data=data, cache=cache or folder / "cache", device=device)
    session = open_session(run, progress)
    # Written first, so that an unwritable folder fails before the work.
    write_atomically(folder / "report.toml", config.portable.toml().encode())
    _run_jobs(session, run, workers)
    table = ResultTable()
    sections = [chapter.section(session, table) for chapter in CHAPTERS]
    _write(folder, _facts(session, run, workers), config, sections, table)
    return Reproduction(page=folder / "index.html", missing=session.missing, failed=session.failed)


def _check_extras() -> None:
    """Check for what chapters import, before hours are spent on jobs."""
    for module, name in (("matplotlib", "matplotlib"), ("scipy", "SciPy")):
        if find_spec(module) is None:
            raise MissingDependencyError(f"a report needs {name}; pip install 'hcd[report]'")


def _run_jobs(session: Session, run: RunConfig, workers: int) -> None:
    """Run untimed jobs in parallel, then timed jobs one at a time."""
    jobs = distinct_jobs(CHAPTERS, session)
    ahead = [job for key, job in jobs.items() if session.store.get(key) is None]
    progress = session.progress
    if progress is not None:
        progress.plan(len(jobs) - len(ahead), ahead, workers)
    shared = [job for job in ahead if not job.exclusive]
    if workers > 1 and shared:

        def on_done(job: Job, seconds: float) -> None:
            if progress is not None:
                progress.done(job, seconds)

        run_parallel(run, shared, workers=min(workers, len(shared)), threads=_threads(workers), on_done=on_done)
    # Also jobs that failed in a worker. Copies of an image are one job with two titles, and failures name both.
    for job in {(job.key, job.title): job for chapter in CHAPTERS for job in chapter.jobs(session)}.values():
        with suppress(Failed):
            session.outcome(job)


def _threads(workers: int) -> int:
    """Return the threads of each worker, which share those of this process."""
    return max(1, torch.get_num_threads() // workers)


def _command(config: ReportConfig, data: Path | None, device: str) -> str:
    """Return the command that makes the report again, with placeholders for folders."""
    words = ["hcd", "reproduce"]
    models = config.portable.models
    for flags, known in (([], FULL), (["--quick"], QUICK)):
        if replace(config, models=known.models) == known and not any("," in model for model in models):
            words += [*flags, "--models", ",".join(models)]
            break
    else:
        words += ["--config", "report.toml"]
    if data is not None:
        words += ["--data", "DIR"]
    if device != "cpu":
        words += ["--device", device]
    return printable(shlex.join([*words, "-o", "OUT"]))


def _machine(device: str, workers: int) -> str:
    together = f"{workers} processes of {_threads(workers)} threads, timed jobs alone with "
    threads = f"{together if workers > 1 else ''}{torch.get_num_threads()} threads"
    cores = f"{os.cpu_count()} cores ({platform.machine()}), {threads}"
    graphics = f"{torch.cuda.get_device_name(device)}, " if device.startswith("cuda") else ""
    return f"{graphics}{cores}, PyTorch {torch.__version__}"


def _facts(session: Session, run: RunConfig, workers: int) -> PageFacts:
    config = run.report
    return PageFacts(
        version=__version__,
        config_hash=config.hash,
        command=_command(config, run.data, run.device),
        models=[
            ModelFacts(
                name=model.name,
                scale=model.scale,
                weights_hash=model.weights_hash,
                latent=model.latent,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
            )
            for model in session.models
        ],
        datasets=[(name, len(session.images_of(name))) for name in session.datasets],
        missing=[(name, KNOWN_SETS.get(name, "a set of your own")) for name in session.missing],
        failed=sorted(session.failed.items()),
        machine=_machine(run.device, workers),
    )


def _write(
    folder: Path, facts: PageFacts, config: ReportConfig, sections: Sequence[Section], table: ResultTable
) -> None:
    summary = {
        **asdict(facts),
        "config": asdict(config.portable),
        "metrics": [asdict(row) for row in table.rows()],
        "timings": [asdict(row) for row in table.rows(of_machine=True)],
    }
    files = {
        "metrics.csv": table.csv().encode(),
        "timings.csv": table.csv(of_machine=True).encode(),
        "report.json": json_text(summary).encode(),
    }
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                files[f"figures/{block.name}.svg"] = block.image.data
    files["index.html"] = render_page(facts, sections).encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
