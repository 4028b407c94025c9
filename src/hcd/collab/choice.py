"""Choose the LR that is returned: the only place that rounds for the file and decides "never worse than plain"."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from hcd.collab.objective import EvaluationStats, Reconstruction
from hcd.collab.region import rms
from hcd.collab.stages import Sample
from hcd.collab.stored import Stored
from hcd.ops import quantize


@final
@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Candidate for the result: an LR, measured on the image that the receiver restores from its file.

    Attributes:
        lr: pixels of the file.
        sample: what they were rounded from.
        terms: each term of the loss, summed over the image.
        loss: loss per pixel.
        cost: value to minimize: loss (negated if it is maximized) plus penalty.
        psnr: PSNR over RGB in dB.
    """

    lr: Tensor
    sample: Sample
    terms: tuple[float, ...]
    loss: float
    cost: float
    psnr: float

    def is_no_worse_than(self, other: Candidate) -> bool:
        """Return whether no term of the loss is larger; NaN is worse."""
        return all(mine <= its for mine, its in zip(self.terms, other.terms, strict=True))


@final
class Choice:
    """Measures candidates of one image by the file they would become, and picks one.

    Args:
        objective: objective of the image.
        stored: kind of the LR file.
        plain: the unperturbed samples; their LR is the plain LR, already in the levels of the file.
        radius: largest root mean square distance between the file's pixels and the plain LR.
        never_worse: refuse a candidate that restores worse than the plain LR by any term of the loss, if the loss is
            minimized.
    """

    def __init__(
        self, *, objective: Reconstruction, stored: Stored, plain: Sample, radius: float, never_worse: bool
    ) -> None:
        self._objective, self._stored, self._radius = objective, stored, radius
        self._guarded = never_worse and objective.sign > 0
        self._plain_sample = plain
        self._plain_decoded = stored.decode(plain.lr)
        self._plain: Candidate | None = None

    @property
    def plain(self) -> Candidate:
        """The plain LR."""
        return self._plain or self.plain_was_measured(self._objective.of_file(self._plain_decoded))

    def needs_plain(self, lr: Tensor) -> bool:
        """Return whether this is what the receiver decodes of the plain LR, and it was not measured yet."""
        return self._plain is None and torch.equal(lr, self._plain_decoded)

    def plain_was_measured(self, stats: EvaluationStats) -> Candidate:
        """Take the metrics of the plain LR, which the first evaluation of a descent may give."""
        self._plain = self._candidate(self._plain_sample.lr, self._plain_decoded, self._plain_sample, stats)
        return self._plain

    def choose(self, kept: Sample, proposed: Sample, *, keep: str, best_loss: float) -> Candidate:
        """Pick between the sample that a stage kept and the one it proposed last, which nothing has evaluated.

        A sample that would be refused loses against one that would not.

        Args:
            keep: ``last`` takes the kept sample as it is.
            best_loss: the least objective of all evaluations. If the proposed sample is better than that in its file,
                the kept one need not be measured.
        """
        if keep == "last":
            return self.measure(kept)
        candidate = self.measure(proposed)
        is_comparable = self._objective.sign > 0 and self._objective.penalty is None
        if is_comparable and candidate.loss <= best_loss and not self.is_refused(candidate):
            return candidate
        return min([candidate, self.measure(kept)], key=self._rank)

    def measure(self, sample: Sample) -> Candidate:
        """Round the LR of a sample for the file, and measure what the receiver restores from it."""
        lr = round_within(sample.lr, self._plain_sample.lr, self._radius, self._stored.levels)
        if self._plain is not None and torch.equal(lr, self._plain_sample.lr):
            return replace(self._plain, sample=sample)
        decoded = self._stored.decode(lr)
        return self._candidate(lr, decoded, sample, self._objective.of_file(decoded))

    def is_refused(self, candidate: Candidate) -> bool:
        """Return whether the plain LR has to be returned instead."""
        return self._guarded and not candidate.is_no_worse_than(self.plain)

    def _rank(self, candidate: Candidate) -> tuple[bool, float]:
        """The least is chosen; NaN comes last."""
        return self.is_refused(candidate), math.inf if math.isnan(candidate.cost) else candidate.cost

    def _candidate(self, lr: Tensor, decoded: Tensor, sample: Sample, stats: EvaluationStats) -> Candidate:
        objective = self._objective
        loss = stats.file_loss / objective.pixels
        penalty = 0.0 if objective.penalty is None else float(objective.penalty(decoded))
        return Candidate(
            lr=lr,
            sample=sample,
            terms=stats.file_terms,
            loss=loss,
            cost=objective.sign * loss + penalty,
            psnr=objective.psnr(stats.file_squares),
        )


def round_within(x: Tensor, anchor: Tensor, radius: float, levels: int = 255) -> Tensor:
    """Round to multiples of ``1/levels`` at a root mean square distance of at most ``radius`` from ``anchor``.

    Args:
        x: any shape, in [0, 1]; moved toward the anchor as far as needed.
        anchor: multiples of ``1/levels`` in [0, 1].
    """
    rounded = quantize(x, levels)
    while rms(rounded - anchor) > radius:
        x = anchor + 0.98 * (x - anchor)
        rounded = quantize(x, levels)
    return rounded
