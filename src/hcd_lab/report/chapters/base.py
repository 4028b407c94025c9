"""What every chapter is: jobs that it needs, and how it tells what they found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from hcd_lab.report.blocks import Block, Section
from hcd_lab.report.jobs import Job
from hcd_lab.report.result_table import ResultTable
from hcd_lab.report.session import Session


class Chapter(ABC):
    """One question, its measurements and its answer."""

    slug: str
    title: str
    counterpart: str = ""

    @abstractmethod
    def jobs(self, session: Session) -> Sequence[Job]:
        """What it needs, for planning; done in this order."""

    @abstractmethod
    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        """Tables, figures and text from the outcomes. Every number goes through the table."""

    def section(self, session: Session, table: ResultTable) -> Section:
        return Section(
            slug=self.slug,
            title=self.title,
            counterpart=self.counterpart,
            blocks=tuple(self.blocks(session, table)),
        )
