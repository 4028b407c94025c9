"""One descent of a stage: evaluations, their history, and why it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from hcd.collab.choice import Choice
from hcd.collab.objective import EvaluationStats, Reconstruction
from hcd.collab.result import Evaluation
from hcd.collab.settings import Settings
from hcd.collab.stages import Stage
from hcd.memory import trim_after
from hcd.nets.cpu.precision import gradient_precision
from hcd.solver import Solution, Stopped, descend


@final
@dataclass(frozen=True, kw_only=True)
class Run:
    """State shared by the images and stages of one call of ``collaborate``: settings, clock, callbacks, history."""

    settings: Settings
    on_evaluation: Callable[[Evaluation], None] | None = None
    on_tile: Callable[[int, int], None] | None = None
    stop: Callable[[], bool] | None = None
    started: float = field(default_factory=time.monotonic)
    history: list[Evaluation] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds since the start of the call."""
        return time.monotonic() - self.started

    def record(self, entry: Evaluation) -> None:
        """Append an evaluation to the history and report it."""
        self.history.append(entry)
        if self.on_evaluation is not None:
            self.on_evaluation(entry)

    def reason_to_stop(self) -> str | None:
        """Return ``seconds`` or ``interrupted`` if the call has to end, else None."""
        if self.seconds >= self.settings.max_seconds:
            return "seconds"
        return "interrupted" if self.stop is not None and self.stop() else None

    def begin_tile(self, number: int, tiles: int) -> None:
        """Report a tile that is about to be computed; raise :class:`Stopped` if the call has to end."""
        if self.on_tile is not None:
            self.on_tile(number, tiles)
        reason = self.reason_to_stop()
        if reason is not None:
            raise Stopped(reason)


def descend_stage(stage: Stage, *, image: int, objective: Reconstruction, choice: Choice, run: Run) -> Solution:
    """Run the descent of a stage.

    Args:
        image: index in the batch.
        objective: objective as a function of the LR.
        choice: gets the metrics of the plain LR if the descent starts there, so that it is restored only once.
        run: settings, callbacks and history.
    """
    settings = run.settings

    def value(point: Tensor) -> tuple[Tensor, EvaluationStats]:
        lr = stage.to_lr(point)
        # The plain LR is judged by this evaluation, so it is computed as the receiver does, in float32.
        is_plain = choice.needs_plain(lr)
        stats = EvaluationStats(levels=objective.levels if is_plain else None)
        with gradient_precision("float32" if is_plain else settings.precision):
            return objective.from_lr(lr, stats), stats

    def after_evaluation(step: int, loss: float, stats: EvaluationStats) -> str | None:
        if stats.levels is not None:
            choice.plain_was_measured(stats)
        psnr = objective.psnr(stats.squares)
        run.record(Evaluation(picture=image, stage=stage.name, step=step, loss=loss, psnr=psnr, seconds=run.seconds))
        trim_after(len(run.history))
        return "target" if psnr >= settings.target_psnr else run.reason_to_stop()

    return descend(
        value,
        stage.start,
        rule=settings.rule,
        project=stage.region.project,
        evaluations=stage.steps,
        keep=settings.keep,
        on_evaluation=after_evaluation,
        box=stage.region.box(),
        tolerance=settings.tolerance,
    )
