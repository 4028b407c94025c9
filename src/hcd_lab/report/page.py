"""Render a report as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2

from hcd_lab.report.blocks import Section


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts about a model."""

    name: str
    scale: int
    weights_hash: str
    latent: str
    parameters: int


@dataclass(frozen=True, kw_only=True)
class PageFacts:
    """Facts about the run.

    Attributes:
        version: version of this package.
        config_hash: hash of the configuration.
        command: command that makes the report again.
        models: measured models.
        datasets: name and number of pictures of every set that was found.
        missing: name of every missing set, and where to get it.
        failed: title of every failed job, and why.
        machine: machine on which times were taken.
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
    """Return the HTML text."""
    source = resources.files("hcd_lab.report").joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(facts=facts, sections=sections)
