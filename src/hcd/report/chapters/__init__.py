"""The chapters of a report, in its order."""

from hcd.report.chapters.base import Chapter
from hcd.report.chapters.direction import Direction
from hcd.report.chapters.latency import Latency
from hcd.report.chapters.objectives import Objectives
from hcd.report.chapters.perturbation import Perturbation
from hcd.report.chapters.quantitative import Quantitative
from hcd.report.chapters.rules import Rules
from hcd.report.chapters.schemes import Schemes
from hcd.report.chapters.sensitivity import Sensitivity
from hcd.report.chapters.visual import Visual

CHAPTERS: tuple[Chapter, ...] = (
    Quantitative(),
    Schemes(),
    Direction(),
    Visual(),
    Perturbation(),
    Latency(),
    Rules(),
    Sensitivity(),
    Objectives(),
)

__all__ = ["CHAPTERS", "Chapter"]
