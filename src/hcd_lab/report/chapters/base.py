"""The contract of a chapter: the jobs that it needs, and the blocks that it makes of their outcomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from hcd_lab.report.blocks import Block, Section
from hcd_lab.report.jobs import Job
from hcd_lab.report.results import ResultTable
from hcd_lab.report.session import Session


class Chapter(ABC):
    """One table or figure of the publication.

    Attributes:
        slug: its anchor on the page, also the ``chapter`` of its rows.
        title: its heading.
        counterpart: the table or figure that it reproduces.
    """

    slug: str
    title: str
    counterpart: str

    @abstractmethod
    def jobs(self, session: Session) -> Sequence[Job]:
        """Return the jobs that it needs, in the order in which they are run."""

    @abstractmethod
    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        """Make tables, figures and text of the outcomes. Every number goes through the table."""

    def section(self, session: Session, table: ResultTable) -> Section:
        """Return the chapter as it is shown."""
        blocks = tuple(self.blocks(session, table))
        return Section(slug=self.slug, title=self.title, counterpart=self.counterpart, blocks=blocks)
