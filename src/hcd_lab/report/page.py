"""The page: sections, models and configuration as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2

from hcd_lab.report.blocks import Section


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a page says of a model."""

    name: str
    scale: int
    weights_hash: str
    latent: str
    parameters: int


@dataclass(frozen=True, kw_only=True)
class PageFacts:
    """What a page says of the whole run.

    Attributes:
        version: of this package.
        config_hash: of the configuration.
        command: that makes it again.
        models: that were measured.
        datasets: name and number of pictures of every set that was there.
        missing: name of every set that was not → where to get it.
        failed: what could not be measured → why.
        machine: what times were taken on.
    """

    version: str
    config_hash: str
    command: str
    models: Sequence[ModelFacts]
    datasets: Sequence[tuple[str, int]]
    missing: Sequence[tuple[str, str]]
    failed: Sequence[tuple[str, str]]
    machine: str


def render_page(facts: PageFacts, sections: Sequence[Section]) -> str:
    """The HTML text."""
    return _render(facts=facts, sections=sections)


def _render(**values: Any) -> str:
    source = resources.files("hcd_lab.report").joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(**values)
