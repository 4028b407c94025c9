"""What settings gain over the plain network's own LR pictures: means over the study pictures, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from hcd.rescaler import Rescaler
from hcd_lab.report.jobs import Solve
from hcd_lab.report.result_table import Entry, Of, ResultTable
from hcd_lab.report.session import Session
from hcd_lab.report.store import Outcome

ABSENT = "–"
"""In place of a number that could not be measured."""


@final
@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a trial found on every study picture of one model, and what ``plain`` found on the same ones.

    Every method writes what it returns into the table.
    """

    table: ResultTable
    of: Of
    outcomes: Sequence[Outcome]
    plain: Sequence[Outcome]

    def mean(self, figure: str, unit: str = "") -> Entry:
        return self.table.add_mean(self.of, figure, [outcome[figure] for outcome in self.outcomes], unit)

    def gain(self) -> Entry:
        """Of PSNR-Y, in dB."""
        return self._compared("gain_over_plain", lambda own, plain: difference(own["psnr_y"], plain["psnr_y"]), "dB")

    def change(self, figure: str, unit: str = "") -> Entry:
        """Of any figure, against plain."""
        return self._compared(f"{figure}_over_plain", lambda own, plain: difference(own[figure], plain[figure]), unit)

    def fidelity(self) -> Entry:
        """PSNR (RGB, dB) of the LR picture against the plain one, mean of the pictures where these differ.

        Infinite where none does: one picture that stayed as it was says nothing of how far the others have moved.
        """
        values = [own["plain_lr_psnr"] for own in self.outcomes if own["plain_lr_psnr"] is not None]
        return self.table.add_mean(self.of, "plain_lr_psnr", values or [math.inf], "dB")

    def share_of_bytes(self) -> Entry:
        """Size of the LR file over that of the plain one."""
        return self._compared("lr_bytes_of_plain", lambda own, plain: own["lr_bytes"] / plain["lr_bytes"], "")

    def rounding_loss(self) -> Entry:
        """What the last rounding and the clamp to 8 bits cost, PSNR-Y in dB."""
        losses = [difference(own["unrounded_psnr_y"], own["psnr_y"]) for own in self.outcomes]
        return self.table.add_mean(self.of, "rounding_loss", losses, "dB")

    def seconds(self) -> Entry:
        """Of downscaling a picture."""
        values = [outcome["seconds"] for outcome in self.outcomes]
        return self.table.add_mean(self.of, "seconds", values, "s", of_machine=True)

    def _compared(self, figure: str, of_pair: Callable[[Outcome, Outcome], float], unit: str) -> Entry:
        values = [of_pair(own, plain) for own, plain in zip(self.outcomes, self.plain, strict=True)]
        return self.table.add_mean(self.of, figure, values, unit)


@final
@dataclass(frozen=True, kw_only=True)
class Trial:
    """A preset with some settings in place of its own, see :func:`trial`.

    Attributes:
        variant: what the table calls it.
        whole: on whole pictures, not on the middle of each.
    """

    preset: str
    settings: tuple[tuple[str, Any], ...]
    variant: str
    whole: bool = False

    def jobs(self, session: Session, model: Rescaler) -> list[Solve]:
        """One for each study picture."""
        subjects = session.examples if self.whole else session.study
        return [session.solve(subject, model, self.preset, **dict(self.settings)) for subject in subjects]

    def findings(self, session: Session, table: ResultTable, chapter: str, model: Rescaler) -> Findings | None:
        """None where a picture could not be measured."""
        outcomes = session.outcomes(self.jobs(session, model))
        plain = session.outcomes(replace(PLAIN, whole=self.whole).jobs(session, model))
        if outcomes is None or plain is None:
            return None
        of = Of(chapter=chapter, model=model.name, dataset=session.datasets[0], variant=self.variant)
        return Findings(table=table, of=of, outcomes=outcomes, plain=plain)


def trial(preset: str, variant: str = "", *, whole: bool = False, **settings: object) -> Trial:
    """A preset with settings. Unless it is given, the variant tells them as ``preset name=value …``."""
    told = " ".join([preset, *(f"{name}={value}" for name, value in settings.items())])
    return Trial(preset=preset, settings=tuple(settings.items()), variant=variant or told, whole=whole)


PLAIN = trial("plain")


def all_jobs(session: Session, trials: Sequence[Trial]) -> list[Solve]:
    """Those of every trial, and of ``plain`` on its pictures, model by model."""
    plain = [replace(PLAIN, whole=whole) for whole in sorted({tried.whole for tried in trials})]
    return [job for model in session.models for tried in (*plain, *trials) for job in tried.jobs(session, model)]


def difference(first: float | None, second: float | None) -> float:
    """NaN unless both are there and finite: two infinite PSNRs have no difference."""
    if first is None or second is None or not (math.isfinite(first) and math.isfinite(second)):
        return math.nan
    return first - second
