"""The driver: models and pictures → jobs → chapters → a folder with the page and its numbers."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from hcd import __version__
from hcd.errors import UsageError
from hcd.evaluate import json_text
from hcd.files import write_atomically
from hcd.report.blocks import Figure, Section
from hcd.report.chapters import CHAPTERS
from hcd.report.config import ReportConfig, split_model
from hcd.report.datasets import KNOWN_SETS, find_sets
from hcd.report.laboratory import Failed, Laboratory, Watcher
from hcd.report.ledger import Ledger
from hcd.report.page import ModelFacts, PageFacts, render_page
from hcd.report.store import Store
from hcd.rescaler import Rescaler
from hcd.zoo import load


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
    watcher: Watcher | None = None,
) -> Reproduction:
    """Measure everything that a configuration asks for, and write the report.

    Writes ``index.html``, ``figures.csv`` (the same for the same configuration, models, pictures and machine),
    ``timings.csv``, ``report.json`` and ``figures/*.svg`` into ``folder``. What is measured is kept at once, so that a
    run that was interrupted, or changed, measures only what is missing.

    Args:
        data: a folder with a folder of pictures for each set; None for photographs of scikit-image.
        cache: where outcomes are kept; None for ``cache`` inside ``folder``.
        device: where the models run.

    Raises:
        UsageError: none of the sets is there, or a model cannot be loaded.
        ModelError, WeightsError: a model cannot be loaded.
        OutputError: the folder cannot be written.
        MissingDependencyError: matplotlib or SciPy is not installed.
    """
    models = [_load(text, device) for text in config.models]
    subjects, missing = find_sets(data, config.sets, config.largest)
    if not subjects:
        raise UsageError(
            f"{data}: holds none of the sets {', '.join(config.sets)}; give each a folder of that name with its "
            "pictures"
        )
    laboratory = Laboratory(
        config=config, models=models, subjects=subjects, store=Store(cache or folder / "cache"), watcher=watcher
    )
    _measure_all(laboratory)
    ledger = Ledger()
    sections = [chapter.section(laboratory, ledger) for chapter in CHAPTERS]
    facts = _facts(config, laboratory, missing)
    _write(folder, facts, config, sections, ledger)
    return Reproduction(page=folder / "index.html", missing=missing, failed=laboratory.failed)


def _load(text: str, device: str) -> Rescaler:
    name, file = split_model(text)
    return load(name, weights=file or None, device=device)


def _measure_all(laboratory: Laboratory) -> None:
    """Every job once, in the order of the chapters."""
    jobs = {job.key: job for chapter in CHAPTERS for job in chapter.jobs(laboratory)}
    if laboratory.watcher is not None:
        ahead = [job for key, job in jobs.items() if laboratory.store.get(key) is None]
        laboratory.watcher.plan(len(jobs) - len(ahead), ahead)
    for job in jobs.values():
        try:
            laboratory.outcome(job)
        except Failed:
            continue


def _facts(config: ReportConfig, laboratory: Laboratory, missing: Sequence[str]) -> PageFacts:
    weights = [f"{name}={Path(file).name}" if file else name for name, file in map(split_model, config.models)]
    models = " ".join(f"--model {shlex.quote(model)}" for model in weights)
    return PageFacts(
        version=__version__,
        config_hash=config.hash,
        command=f"hcd reproduce {models} -o report",
        models=[
            ModelFacts(
                name=model.name,
                scale=model.scale,
                weights_hash=model.weights_hash,
                latent=model.latent,
                parameters=sum(parameter.numel() for parameter in model.parameters()),
            )
            for model in laboratory.models
        ],
        datasets=[(name, len(laboratory.of(name))) for name in laboratory.datasets],
        missing=[(name, KNOWN_SETS.get(name, "a set of your own")) for name in missing],
        failed=sorted(laboratory.failed.items()),
        machine=f"{os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} threads, "
        f"PyTorch {torch.__version__}",
    )


def _write(folder: Path, facts: PageFacts, config: ReportConfig, sections: Sequence[Section], ledger: Ledger) -> None:
    summary = {
        **asdict(facts),
        "config": asdict(config),
        "figures": [asdict(entry) for entry in ledger.rows()],
        "timings": [asdict(entry) for entry in ledger.rows(of_machine=True)],
    }
    files = {
        "figures.csv": ledger.csv().encode(),
        "timings.csv": ledger.csv(of_machine=True).encode(),
        "report.json": json_text(summary).encode(),
    }
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                files[f"figures/{block.name}.svg"] = block.picture.data
    files["index.html"] = render_page(facts, sections).encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
