"""One picture on its way through the stages: what each of them moves, and which LR picture is handed over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from hcd.collab.fit import fit_solving
from hcd.collab.objective import EvaluationStats, Reconstruction
from hcd.collab.region import Region, near, round_within
from hcd.collab.result import Evaluation, Sample
from hcd.collab.settings import STAGES, Settings
from hcd.heap import give_back, keeps_freed
from hcd.nets.cpu.precision import gradient_precision
from hcd.ops import quantize
from hcd.rescaler import Rescaler
from hcd.solver import Solution, Stopped, descend

# Evaluations from one time that memory is given back to the next.
_GIVEN_BACK_EVERY = 8


@dataclass(frozen=True, kw_only=True)
class Run:
    """One call of ``collaborate``: what its pictures and stages share."""

    model: Rescaler
    settings: Settings
    memory: int | None
    on_evaluation: Callable[[Evaluation], None] | None
    on_tile: Callable[[int, int], None] | None
    stop: Callable[[], bool]
    started: float
    history: list[Evaluation] = field(default_factory=list)

    @torch.no_grad()
    def solve(self, index: int, hr: Tensor) -> Sample:
        """Solve the picture ``[1, 3, H, W]`` of this index in the batch."""
        settings = self.settings
        model = fit_solving(
            hr,
            self.model,
            steps_hr=settings.steps_hr,
            steps_lr=settings.steps_lr,
            loss=settings.loss,
            memory=self.memory,
        )
        return _Picture(run=self, index=index, hr=hr, model=model).solve()

    def record(self, entry: Evaluation) -> str | None:
        """Record an evaluation; return the reason to stop, or None."""
        self.history.append(entry)
        # Where freed memory is kept, its holes grow from one evaluation to the next (docs/notes/0021).
        if keeps_freed() and len(self.history) % _GIVEN_BACK_EVERY == 0:
            give_back()
        if self.on_evaluation is not None:
            self.on_evaluation(entry)
        return "target" if entry.psnr >= self.settings.target_psnr else self.why_stop()

    def why_stop(self) -> str | None:
        if time.monotonic() - self.started >= self.settings.max_seconds:
            return "seconds"
        return "interrupted" if self.stop() else None

    def at_tile(self, number: int, tiles: int) -> None:
        if self.on_tile is not None:
            self.on_tile(number, tiles)
        reason = self.why_stop()
        if reason is not None:
            raise Stopped(reason)


@dataclass(frozen=True, kw_only=True)
class _Samples:
    """Where a picture is between two stages: the HR sample, and the LR sample that belongs to it."""

    hr: Tensor
    lr: Tensor


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An LR picture in whole gray levels, the samples it comes of, and what a receiver restores from its file."""

    lr: Tensor
    samples: _Samples
    loss: float
    terms: tuple[float, ...]
    cost: float
    psnr: float

    def is_no_worse_than(self, other: Candidate) -> bool:
        """By every term of the loss; a NaN is worse."""
        return all(mine <= its for mine, its in zip(self.terms, other.terms, strict=True))


@final
class _Picture:
    """The descent on one picture."""

    def __init__(self, *, run: Run, index: int, hr: Tensor, model: Rescaler) -> None:
        settings = run.settings
        self._run, self._settings, self._index = run, settings, index
        self._hr, self._model = hr, model
        self._sign = -1 if settings.direction == "adversarial" else 1
        self._objective = Reconstruction(hr=hr, model=model, loss=settings.loss, sign=self._sign, on_tile=run.at_tile)
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._plain_lr = quantize(model.downscale(hr))
        # What a receiver has of it: of a lossy file, another picture.
        self._stored_plain = settings.rounding.stored(self._plain_lr) if settings.evaluations else self._plain_lr
        self._penalties = [
            penalty.bind(hr=hr, plain_lr=self._plain_lr, scale=model.scale) for penalty in settings.penalties
        ]
        # No two pictures are below 0 dB.
        self._radius = 10 ** (-settings.min_lr_psnr / 20) if settings.min_lr_psnr > 0 else math.inf
        self._low, self._high = self._lr_box()
        self._plain: Candidate | None = None
        self._plain_samples = _Samples(hr=hr, lr=self._plain_lr)
        self._lr_start = self._plain_lr

    def solve(self) -> Sample:
        settings = self._settings
        samples, candidate = self._plain_samples, None
        for stage in STAGES:
            if settings.steps(stage):
                samples, candidate = self._stages()[stage](samples)
        if not settings.evaluations:
            return self._sample(samples, kept_plain=False)
        chosen = self._chosen(samples, candidate)
        return self._sample(chosen.samples, chosen, kept_plain=self._is_refused(chosen))

    def _sample(self, samples: _Samples, chosen: Candidate | None = None, *, kept_plain: bool) -> Sample:
        plain = None if chosen is None else self._plain_candidate()
        kept = plain if kept_plain else chosen
        return Sample(
            lr=self._plain_lr if kept is None else kept.lr,
            plain_lr=self._plain_lr,
            collaborative_hr=samples.hr,
            lr_start=self._lr_start,
            collaborative_lr=samples.lr,
            kept_plain=kept_plain,
            psnr=None if kept is None else kept.psnr,
            plain_psnr=None if plain is None else plain.psnr,
        )

    # What the stages move.

    def _stages(self) -> dict[str, Callable[[_Samples], tuple[_Samples, _Samples]]]:
        return {"hr": self._hr_stage, "lr": self._lr_stage}

    def _hr_stage(self, samples: _Samples) -> tuple[_Samples, _Samples]:
        """Move the HR sample; the LR sample is what it is downscaled to."""
        rounded: Callable[[Tensor], Tensor] = quantize if self._settings.round_hr else lambda lr: lr

        def to_lr(sample: Tensor) -> Tensor:
            return rounded(self._model.downscale(sample))

        def settled(sample: Tensor) -> _Samples:
            return _Samples(hr=sample, lr=self._bounded(quantize(self._model.downscale(sample))))

        region = Region(center=self._hr, norm=self._settings.norm, epsilon=self._settings.epsilon_hr)
        start = region.project(samples.hr)
        solution = self._descend("hr", to_lr, start, region)
        return settled(solution.x), settled(solution.candidate)

    def _lr_stage(self, samples: _Samples) -> tuple[_Samples, _Samples]:
        """Moves the LR sample alone."""
        region = self._lr_region(samples.lr)
        self._lr_start = region.center

        solution = self._descend("lr", self._settings.rounding.stand_in, region.center, region)
        return replace(samples, lr=solution.x), replace(samples, lr=solution.candidate)

    # The descent of a stage.

    def _descend(
        self,
        stage: str,
        to_lr: Callable[[Tensor], Tensor],
        start: Tensor,
        region: Region,
    ) -> Solution:
        settings = self._settings
        meter = EvaluationStats()

        def value(sample: Tensor) -> Tensor:
            nonlocal meter
            lr = to_lr(sample)
            # The first evaluation of an LR stage mostly is of the plain LR picture itself, which has to be judged too.
            is_plain = self._plain is None and torch.equal(lr, self._stored_plain)
            meter = EvaluationStats(of_file=is_plain)
            with gradient_precision("float32" if is_plain else settings.precision):
                loss = self._objective.from_lr(lr, meter)
            if is_plain and not settings.penalties:
                self._plain = self._weighed(self._plain_lr, self._plain_samples, meter, penalty=0.0)
            return loss + sum(penalty(lr) for penalty in self._penalties)

        def record(step: int, loss: float) -> str | None:
            seconds, reached = time.monotonic() - self._run.started, self._objective.psnr(meter.squares)
            return self._run.record(
                Evaluation(picture=self._index, stage=stage, step=step, loss=loss, psnr=reached, seconds=seconds)
            )

        if settings.random_start:
            start = region.random_point(self._generator)
        return descend(
            value,
            start,
            rule=settings.rule,
            project=region.project,
            evaluations=settings.steps(stage),
            keep=settings.keep,
            on_evaluation=record,
            box=region.box(),
            tolerance=settings.tolerance,
        )

    # Bounds of the LR sample.

    def _lr_box(self) -> tuple[Tensor, Tensor]:
        change = self._settings.max_change
        if change is None:
            return torch.zeros_like(self._plain_lr), torch.ones_like(self._plain_lr)
        return (self._plain_lr - change / 255).clamp(min=0), (self._plain_lr + change / 255).clamp(max=1)

    def _lr_region(self, start: Tensor) -> Region:
        """The ball around the start of the LR stage, cut by all the bounds; the start is moved into these first."""
        settings = self._settings
        return Region(
            center=self._bounded(start),
            norm=settings.norm,
            epsilon=settings.epsilon_lr,
            low=self._low,
            high=self._high,
            anchor=None if math.isinf(self._radius) else self._plain_lr,
            radius=self._radius,
        )

    def _bounded(self, lr: Tensor) -> Tensor:
        inside = lr.maximum(self._low).minimum(self._high)
        return inside if math.isinf(self._radius) else near(inside, self._plain_lr, self._radius)

    # Which LR picture is handed over.

    def _chosen(self, samples: _Samples, candidate: _Samples | None) -> Candidate:
        """The best of what the last stage evaluated and the step that it proposed last.

        A candidate that is better in 8 bits than the best evaluated sample is unrounded needs no comparison. One that
        would be refused gives way to one that would not.
        """
        if candidate is None:
            return self._plain_candidate()
        if self._settings.keep == "last":
            return self._judge(samples)
        judged = self._judge(candidate)
        reached = [entry.loss for entry in self._run.history if entry.picture == self._index]
        surely = self._sign > 0 and not self._penalties and reached and judged.loss <= min(reached)
        if surely and not self._is_refused(judged):
            return judged
        return min([judged, self._judge(samples)], key=self._rank)

    def _rank(self, judged: Candidate) -> tuple[bool, float]:
        """By which the least is handed over; a NaN comes last."""
        return self._is_refused(judged), math.inf if math.isnan(judged.cost) else judged.cost

    def _is_refused(self, judged: Candidate) -> bool:
        guarded = self._settings.never_worse and self._sign > 0
        return guarded and not judged.is_no_worse_than(self._plain_candidate())

    def _judge(self, samples: _Samples) -> Candidate:
        lr = round_within(samples.lr, self._plain_lr, self._radius)
        if self._plain is not None and torch.equal(lr, self._plain_lr):
            return replace(self._plain, samples=samples)
        stored = self._settings.rounding.stored(lr)
        # A picture that is finished is not cut short.
        meter = replace(self._objective, on_tile=None).of_file(stored)
        return self._weighed(lr, samples, meter, penalty=float(sum(penalty(stored) for penalty in self._penalties)))

    def _weighed(self, lr: Tensor, samples: _Samples, meter: EvaluationStats, *, penalty: float) -> Candidate:
        loss = meter.file_loss / self._objective.pixels
        psnr = self._objective.psnr(meter.file_squares)
        cost = self._sign * loss + penalty
        return Candidate(lr=lr, samples=samples, loss=loss, terms=meter.file_terms, cost=cost, psnr=psnr)

    def _plain_candidate(self) -> Candidate:
        if self._plain is None:
            self._plain = self._judge(self._plain_samples)
        return self._plain
