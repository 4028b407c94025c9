"""The chapters of a report, in their order."""

from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.direction import Direction
from hcd_lab.report.chapters.latency import Latency
from hcd_lab.report.chapters.perturbation import Perturbation
from hcd_lab.report.chapters.quantitative import Quantitative
from hcd_lab.report.chapters.schemes import Schemes
from hcd_lab.report.chapters.visual import Visual

CHAPTERS: tuple[Chapter, ...] = (
    Quantitative(),
    Schemes(),
    Direction(),
    Visual(),
    Perturbation(),
    Latency(),
)

__all__ = ["CHAPTERS", "Chapter"]
