"""What is minimized, and what that does to the figures that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from hcd_lab.report.blocks import Block, Cell, Paragraph, Table
from hcd_lab.report.chapters.base import Chapter
from hcd_lab.report.chapters.gains import ABSENT, Trial, all_jobs, trial
from hcd_lab.report.config import ReportConfig
from hcd_lab.report.jobs import Job
from hcd_lab.report.result_table import Entry, Number, ResultTable
from hcd_lab.report.session import Session

_FIGURES = (
    ("psnr_y", "PSNR-Y", "dB", "+.2f"),
    ("psnr_rgb", "PSNR-RGB", "dB", "+.2f"),
    ("ssim_y", "SSIM-Y", "", "+.4f"),
    ("lr_psnr", "LR PSNR-Y against bicubic", "dB", "+.2f"),
)
_LOSSES = {
    "rgb": "squared error over RGB",
    "y": "squared error on luma",
    "rgb+y": "half the squared error over RGB and half that on luma",
    "charbonnier": "Charbonnier over RGB",
    "ssim": "squared error over RGB, and 0.01 times the dissimilarity 1 − SSIM on luma",
}


@final
class Objectives(Chapter):
    slug = "objectives"
    title = "What is minimized, and what else changes"

    def jobs(self, session: Session) -> Sequence[Job]:
        return all_jobs(session, list(_trials(session.config).values()))

    def blocks(self, session: Session, table: ResultTable) -> Sequence[Block]:
        rows: list[Sequence[Cell]] = []
        strong: set[int] = set()
        best: list[str | Number] = []
        for model in session.models:
            strong.add(len(rows))
            changes: dict[str, list[Entry]] = {}
            for loss, tried in _trials(session.config).items():
                found = tried.findings(session, table, self.slug, model)
                if found is None:
                    rows.append((f"{model.name}, {loss}", *[ABSENT] * (len(_FIGURES) + 1)))
                    continue
                changes[loss] = [found.change(figure, unit) for figure, _, unit, _ in _FIGURES]
                shown = [entry.shown(form) for entry, (_, _, _, form) in zip(changes[loss], _FIGURES, strict=True)]
                rows.append((f"{model.name}, {loss}", *shown, found.fidelity().shown()))
            best += _best(model.name, changes)
        named = "; ".join(f"{loss}: {_LOSSES[loss]}" for loss in session.config.study.losses)
        return [
            Paragraph(
                parts=[
                    "The preset balanced with several losses in the place of its own (rgb+y). "
                    f"{named}. All figures are changes against the plain network, measured on the 8-bit LR file, means "
                    f"over the {len(session.study)} study pictures; the last column compares the LR picture with "
                    "the plain one."
                ]
            ),
            Table(
                caption="Change of every figure by what is minimized",
                head=(
                    "model, loss",
                    *(f"{name} ({unit})" if unit else name for _, name, unit, _ in _FIGURES),
                    "LR PSNR against plain (dB)",
                ),
                rows=rows,
                strong=frozenset(strong),
            ),
            *([Paragraph(parts=["Largest changes of the restored picture. ", *best])] if best else []),
        ]


def _trials(config: ReportConfig) -> dict[str, Trial]:
    return {loss: trial("balanced", loss=loss) for loss in config.study.losses}


def _best(model: str, changes: Mapping[str, Sequence[Entry]]) -> list[str | Number]:
    """Which loss did most for each figure of the restored picture."""
    if not changes:
        return []
    parts: list[str | Number] = [f"{model}: "]
    for index, (figure, name, unit, form) in enumerate(_FIGURES):
        if figure == "lr_psnr":
            continue
        loss = max(changes, key=lambda loss: changes[loss][index].value)
        parts += [
            f"{', ' if index else ''}{name} with {loss} (",
            changes[loss][index].shown(form),
            f" {unit}".rstrip() + ")",
        ]
    return [*parts, ". "]
