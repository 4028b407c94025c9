"""The driver: models and pictures → jobs → chapters → a folder with the page and its numbers."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from hcd import __version__
from hcd.errors import MissingDependencyError, UsageError, printable
from hcd.evaluate import json_text
from hcd.files import write_atomically
from hcd.report.blocks import Figure, Section
from hcd.report.chapters import CHAPTERS
from hcd.report.config import FULL, QUICK, ReportConfig, split_model
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
    ``timings.csv``, ``report.json``, ``report.toml`` (the configuration) and ``figures/*.svg`` into ``folder``. What is
    measured is kept at once, so that a run that was interrupted, or changed, measures only what is missing.

    Args:
        data: a folder with a folder of pictures for each set; None for photographs of scikit-image.
        cache: where outcomes are kept; None for ``cache`` inside ``folder``.
        device: where the models run.

    Raises:
        UsageError: none of the sets is there, two models are the same, or one cannot be loaded.
        ModelError, WeightsError: a model cannot be loaded.
        OutputError: the folder cannot be written.
        MissingDependencyError: matplotlib or SciPy is not installed.
    """
    _check_extras()
    subjects, missing = find_sets(data, config.sets, config.largest)
    if not subjects:
        raise UsageError(
            f"{data}: holds none of the sets {', '.join(config.sets)}; give each a folder of that name with its "
            "pictures"
        )
    models = _load_all(config, device)
    # At once, so that a folder that cannot be written is found out before the work.
    write_atomically(folder / "report.toml", config.portable.toml().encode())
    laboratory = Laboratory(
        config=config, models=models, subjects=subjects, store=Store(cache or folder / "cache"), watcher=watcher
    )
    _measure_all(laboratory)
    ledger = Ledger()
    sections = [chapter.section(laboratory, ledger) for chapter in CHAPTERS]
    facts = _facts(config, laboratory, missing, data=data, device=device)
    _write(folder, facts, config, sections, ledger)
    return Reproduction(page=folder / "index.html", missing=missing, failed=laboratory.failed)


def _check_extras() -> None:
    """What chapters need, before hours are spent on their jobs."""
    for module, name in (("matplotlib", "matplotlib"), ("scipy", "SciPy")):
        if find_spec(module) is None:
            raise MissingDependencyError(f"a report needs {name}; pip install 'hcd[report]'")


def _load_all(config: ReportConfig, device: str) -> list[Rescaler]:
    found: dict[str, tuple[str, Rescaler]] = {}
    for text in config.models:
        name, file = split_model(text)
        model = load(name, weights=file or None, device=device)
        if model.name in found:
            raise UsageError(f"models '{found[model.name][0]}' and '{text}': both are {model.name}; leave one out")
        found[model.name] = text, model
    return [model for _, model in found.values()]


def _measure_all(laboratory: Laboratory) -> None:
    """Every job once, in the order of the chapters."""
    # Copies of a picture are one job under two names, and where it fails, both are told.
    jobs = {(job.key, job.title): job for chapter in CHAPTERS for job in chapter.jobs(laboratory)}
    if laboratory.watcher is not None:
        distinct = {job.key: job for job in jobs.values()}
        ahead = [job for key, job in distinct.items() if laboratory.store.get(key) is None]
        laboratory.watcher.plan(len(distinct) - len(ahead), ahead)
    for job in jobs.values():
        try:
            laboratory.outcome(job)
        except Failed:
            continue


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


def _machine(device: str) -> str:
    cores = f"{os.cpu_count()} cores ({platform.machine()}), {torch.get_num_threads()} threads"
    graphics = f"{torch.cuda.get_device_name(device)}, " if device.startswith("cuda") else ""
    return f"{graphics}{cores}, PyTorch {torch.__version__}"


def _facts(
    config: ReportConfig, laboratory: Laboratory, missing: Sequence[str], *, data: Path | None, device: str
) -> PageFacts:
    return PageFacts(
        version=__version__,
        config_hash=config.hash,
        command=_command(config, data, device),
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
        machine=_machine(device),
    )


def _write(folder: Path, facts: PageFacts, config: ReportConfig, sections: Sequence[Section], ledger: Ledger) -> None:
    summary = {
        **asdict(facts),
        "config": asdict(config.portable),
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
