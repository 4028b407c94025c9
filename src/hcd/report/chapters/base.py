"""What every chapter is: jobs that it needs, and how it tells what they found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from hcd.report.blocks import Block, Section
from hcd.report.jobs import Job
from hcd.report.laboratory import Laboratory
from hcd.report.ledger import Ledger


class Chapter(ABC):
    """One question, its measurements and its answer."""

    slug: str
    title: str
    counterpart: str = ""

    @abstractmethod
    def jobs(self, laboratory: Laboratory) -> Sequence[Job]:
        """What it needs, for planning; done in this order."""

    @abstractmethod
    def blocks(self, laboratory: Laboratory, ledger: Ledger) -> Sequence[Block]:
        """Tables, figures and text from the outcomes. Every number goes through the ledger."""

    def section(self, laboratory: Laboratory, ledger: Ledger) -> Section:
        return Section(
            slug=self.slug,
            title=self.title,
            counterpart=self.counterpart,
            blocks=tuple(self.blocks(laboratory, ledger)),
        )
