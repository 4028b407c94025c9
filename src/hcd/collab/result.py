"""The result of the method: samples, metrics, history, and why it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STOPS = ("interrupted", "seconds", "evaluations", "tolerance", "target")
"""Reasons to stop. If the images of a batch stopped for several, the first in this order stands for the batch."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One gradient evaluation.

    Attributes:
        picture: index in the batch.
        stage: ``hr`` or ``lr``.
        step: evaluations of the stage so far, this one included.
        loss: the objective with its penalty; negative if it is maximized.
        psnr: PSNR over RGB, in dB, of the image that was restored from the LR as the loop sees it: in the LR stage
            before it is rounded for the file.
        seconds: time since ``collaborate`` was called.
    """

    picture: int
    stage: str
    step: int
    loss: float
    psnr: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of ``collaborate``; every tensor is ``[N, 3, ·, ·]`` in [0, 1].

    Attributes:
        lr: pixels of the file: multiples of 1/255, or of 1/65535 for files of 16 bits.
        plain_lr: the rescaler's own LR, rounded to the same multiples.
        collaborative_hr: HR sample after the HR stage; the original if that was skipped.
        lr_start: start of the LR stage and center of its ball; the plain LR if that was skipped.
        collaborative_lr: LR sample after the LR stage, before it is rounded for the file.
        kept_plain: per image, whether the plain LR was returned because the sample restored worse by a term of the
            loss.
        psnr, plain_psnr: per image, PSNR over RGB in dB of the image that the receiver restores from the file of ``lr``
            and from that of ``plain_lr``; None without evaluations, since then nothing had to be restored.
        stops: per image, why its last stage ended, see :attr:`stopped`.
        history: one entry per gradient evaluation.
        seconds: wall time of the whole call.
    """

    lr: Tensor
    plain_lr: Tensor
    collaborative_hr: Tensor
    lr_start: Tensor
    collaborative_lr: Tensor
    kept_plain: tuple[bool, ...]
    psnr: tuple[float | None, ...]
    plain_psnr: tuple[float | None, ...]
    stops: tuple[str, ...]
    history: tuple[Evaluation, ...]
    seconds: float

    @property
    def stopped(self) -> str:
        """Reason why the last stage ended:

        - ``evaluations``: all gradient evaluations were spent, or the settings have none
        - ``target``: the restored image reached ``target_psnr``
        - ``tolerance``: three evaluations lowered the loss by less than the share ``tolerance``
        - ``seconds``: ``max_seconds`` had passed
        - ``interrupted``: ``stop`` returned true

        For a batch whose images stopped for several reasons, the first of these in the order of :data:`STOPS`:
        ``interrupted``, ``seconds``, ``evaluations``, ``tolerance``, ``target``. :attr:`stops` has each.
        """
        return min(self.stops, key=STOPS.index)

    @property
    def grad_evals(self) -> int:
        """Gradient evaluations spent on all images together."""
        return len(self.history)

    @classmethod
    def joined(cls, parts: Sequence[Result], seconds: float) -> Result:
        """Return the result of a batch from those of its images."""
        return cls(
            lr=torch.cat([part.lr for part in parts]),
            plain_lr=torch.cat([part.plain_lr for part in parts]),
            collaborative_hr=torch.cat([part.collaborative_hr for part in parts]),
            lr_start=torch.cat([part.lr_start for part in parts]),
            collaborative_lr=torch.cat([part.collaborative_lr for part in parts]),
            kept_plain=tuple(kept for part in parts for kept in part.kept_plain),
            psnr=tuple(psnr for part in parts for psnr in part.psnr),
            plain_psnr=tuple(psnr for part in parts for psnr in part.plain_psnr),
            stops=tuple(stop for part in parts for stop in part.stops),
            history=tuple(entry for part in parts for entry in part.history),
            seconds=seconds,
        )
