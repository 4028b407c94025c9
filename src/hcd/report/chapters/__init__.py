"""The chapters of a report, in its order."""

from hcd.report.chapters.base import Chapter
from hcd.report.chapters.quantitative import Quantitative

CHAPTERS: tuple[Chapter, ...] = (Quantitative(),)

__all__ = ["CHAPTERS", "Chapter"]
