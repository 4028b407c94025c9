"""Trials: settings that are measured on the study images and compared with the plain LR images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from hcd.rescaler import Rescaler
from hcd_lab.report.jobs import Solve
from hcd_lab.report.results import Label, ResultRow, ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Outcome


@final
@dataclass(frozen=True, kw_only=True)
class Findings:
    """Outcomes of a trial on the study images of one model, and those of ``plain`` on the same images."""

    table: ResultTable
    label: Label
    outcomes: Sequence[Outcome]
    plain: Sequence[Outcome]

    def gains(self) -> list[float]:
        """Return the gain of PSNR-Y over plain of each image, dB."""
        return [psnr_gain(own, plain) for own, plain in zip(self.outcomes, self.plain, strict=True)]

    def mean_gain(self) -> ResultRow:
        """Add the mean gain to the table."""
        return self.table.add_mean(self.label, "gain_over_plain", self.gains(), "dB")

    def mean_seconds(self) -> ResultRow:
        """Add the mean time of downscaling to the table."""
        values = [outcome["seconds"] for outcome in self.outcomes]
        return self.table.add_mean(self.label, "seconds", values, "s", of_machine=True)


@final
@dataclass(frozen=True, kw_only=True)
class Trial:
    """A preset with changed settings, see :func:`trial`.

    Attributes:
        variant: its name in the table.
        uncropped: measure on whole images, not on their centers.
    """

    preset: str
    settings: tuple[tuple[str, Any], ...]
    variant: str
    uncropped: bool = False

    def jobs(self, session: Session, model: Rescaler) -> list[Solve]:
        """Return one job for each study image."""
        images = session.examples if self.uncropped else session.study
        return [session.solve(image, model, self.preset, **dict(self.settings)) for image in images]

    def findings(self, session: Session, table: ResultTable, chapter: str, model: Rescaler) -> Findings | None:
        """Return the outcomes; None if a job failed."""
        outcomes = session.outcomes(self.jobs(session, model))
        plain = session.outcomes(replace(_PLAIN, uncropped=self.uncropped).jobs(session, model))
        if outcomes is None or plain is None:
            return None
        label = Label(chapter=chapter, model=model.name, dataset=session.datasets[0], variant=self.variant)
        return Findings(table=table, label=label, outcomes=outcomes, plain=plain)


def trial(preset: str, variant: str = "", *, uncropped: bool = False, **settings: object) -> Trial:
    """Return a trial. The default variant is ``preset name=value …``."""
    default = " ".join([preset, *(f"{name}={value}" for name, value in settings.items())])
    return Trial(preset=preset, settings=tuple(settings.items()), variant=variant or default, uncropped=uncropped)


_PLAIN = trial("plain")


def trial_jobs(session: Session, trials: Sequence[Trial]) -> list[Solve]:
    """Return the jobs of every trial, and those of ``plain`` on the same images, model by model."""
    plain = [replace(_PLAIN, uncropped=uncropped) for uncropped in sorted({tried.uncropped for tried in trials})]
    return [job for model in session.models for tried in (*plain, *trials) for job in tried.jobs(session, model)]


def psnr_gain(own: Outcome, plain: Outcome) -> float:
    """Return the gain of PSNR-Y in dB; NaN unless both are finite, since infinite PSNRs have no difference."""
    gain: float = own["psnr_y"] - plain["psnr_y"]
    return gain if math.isfinite(gain) else math.nan
