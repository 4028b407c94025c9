"""The driver: models and pictures → jobs → chapters → a folder with the page and its numbers."""

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
from hcd_lab.report.result_table import ResultTable
from hcd_lab.report.session import Failed, Progress, RunConfig, Session, open_session
from hcd_lab.report.workers import crew, distinct_jobs, share_out


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What was written.

    Attributes:
        page: the HTML file.
        missing: names of sets that were not there.
        failed: what could not be measured → why.
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

    Writes ``index.html``, ``figures.csv`` (the same for the same configuration, models, pictures and machine),
    ``timings.csv``, ``report.json``, ``report.toml`` (the configuration) and ``figures/*.svg`` into ``folder``. What is
    measured is kept at once, so that a run that was interrupted, or changed, measures only what is missing.

    Args:
        data: a folder with a folder of pictures for each set; None for photographs of scikit-image.
        cache: where outcomes are kept; None for ``cache`` inside ``folder``.
        device: where the models run.
        workers: processes that measure at once, which share this one's threads; each takes the memory of one.

    Raises:
        UsageError: none of the sets is there, two models are the same, or fewer than one worker.
        ModelError, WeightsError: a model cannot be loaded.
        OutputError: the folder cannot be written.
        MissingDependencyError: matplotlib or SciPy is not installed.
    """
    if workers < 1:
        raise UsageError(f"workers {workers}: must be 1 or more")
    _check_extras()
    order = RunConfig(config=config, data=data, cache=cache or folder / "cache", device=device)
    session = open_session(order, progress)
    # At once, so that a folder that cannot be written is found out before the work.
    write_atomically(folder / "report.toml", config.portable.toml().encode())
    _measure_all(session, order, workers)
    table = ResultTable()
    sections = [chapter.section(session, table) for chapter in CHAPTERS]
    facts = _facts(session, order, workers)
    _write(folder, facts, config, sections, table)
    return Reproduction(page=folder / "index.html", missing=session.missing, failed=session.failed)


def _check_extras() -> None:
    """What chapters need, before hours are spent on their jobs."""
    for module, name in (("matplotlib", "matplotlib"), ("scipy", "SciPy")):
        if find_spec(module) is None:
            raise MissingDependencyError(f"a report needs {name}; pip install 'hcd[report]'")


def _measure_all(session: Session, order: RunConfig, workers: int) -> None:
    """Every job once: what can be is shared out among processes, what times are taken of comes after that, alone."""
    jobs = distinct_jobs(CHAPTERS, session)
    ahead = [job for key, job in jobs.items() if session.store.get(key) is None]
    if session.progress is not None:
        session.progress.plan(len(jobs) - len(ahead), ahead, workers)
    if workers > 1:
        _measure_together(session, order, share_out([job for job in ahead if not job.alone], workers))
    # Copies of a picture are one job under two names, and where it fails, both are told.
    for job in {(job.key, job.title): job for chapter in CHAPTERS for job in chapter.jobs(session)}.values():
        with suppress(Failed):
            session.outcome(job)


def _measure_together(session: Session, order: RunConfig, shares: Sequence[Sequence[Job]]) -> None:
    """The first share here, and each other one in a process of its own."""
    own, *others = shares
    jobs = {job.key: job for share in others for job in share}
    progress, before = session.progress, torch.get_num_threads()

    def told(key: str, seconds: float) -> None:
        if progress is not None:
            progress.done(jobs[key], seconds)

    threads = _threads(len(shares))
    with crew(order, others, threads) as helpers:
        torch.set_num_threads(threads)
        try:
            for job in own:
                with suppress(Failed):
                    session.outcome(job)
                for key, seconds in helpers.news():
                    told(key, seconds)
            helpers.wait(told)
        finally:
            torch.set_num_threads(before)


def _threads(workers: int) -> int:
    """Of each process, so that all together take those of this one."""
    return max(1, torch.get_num_threads() // workers)


def _command(config: ReportConfig, data: Path | None, device: str) -> str:
    """What makes the report again; paths are left to the reader."""
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
    together = f"{workers} processes of {_threads(workers)} threads, what is timed alone with "
    threads = f"{together if workers > 1 else ''}{torch.get_num_threads()} threads"
    cores = f"{os.cpu_count()} cores ({platform.machine()}), {threads}"
    graphics = f"{torch.cuda.get_device_name(device)}, " if device.startswith("cuda") else ""
    return f"{graphics}{cores}, PyTorch {torch.__version__}"


def _facts(session: Session, order: RunConfig, workers: int) -> PageFacts:
    config = order.config
    return PageFacts(
        version=__version__,
        config_hash=config.hash,
        command=_command(config, order.data, order.device),
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
        datasets=[(name, len(session.of(name))) for name in session.datasets],
        missing=[(name, KNOWN_SETS.get(name, "a set of your own")) for name in session.missing],
        failed=sorted(session.failed.items()),
        machine=_machine(order.device, workers),
    )


def _write(
    folder: Path, facts: PageFacts, config: ReportConfig, sections: Sequence[Section], table: ResultTable
) -> None:
    summary = {
        **asdict(facts),
        "config": asdict(config.portable),
        "figures": [asdict(entry) for entry in table.rows()],
        "timings": [asdict(entry) for entry in table.rows(of_machine=True)],
    }
    files = {
        "figures.csv": table.csv().encode(),
        "timings.csv": table.csv(of_machine=True).encode(),
        "report.json": json_text(summary).encode(),
    }
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                files[f"figures/{block.name}.svg"] = block.picture.data
    files["index.html"] = render_page(facts, sections).encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
