"""What the method returns: samples, figures and the history of its evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One gradient evaluation.

    Attributes:
        picture: index in the batch.
        stage: ``hr`` or ``lr``.
        step: evaluations of the stage so far, this one included.
        loss: the objective with its penalties; negative where it is maximized.
        psnr: PSNR over RGB, in dB, of what was restored; in the LR stage before rounding unless that is in the loop.
        seconds: since ``collaborate`` was called.
    """

    picture: int
    stage: str
    step: int
    loss: float
    psnr: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was found for one picture; every tensor is ``[1, 3, ·, ·]``. The fields are those of :class:`Result`."""

    lr: Tensor
    plain_lr: Tensor
    collaborative_hr: Tensor
    lr_start: Tensor
    collaborative_lr: Tensor
    kept_plain: bool
    psnr: float | None
    plain_psnr: float | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What ``collaborate`` returns; every tensor is ``[N, 3, ·, ·]`` in [0, 1].

    Attributes:
        lr: the file's pixels, multiples of 1/255.
        plain_lr: the rescaler's own LR, rounded.
        collaborative_hr: the sample that the HR stage ended with; the original where the stage was skipped.
        lr_start: where the LR stage began, the center of its ball; the plain LR where it was skipped.
        collaborative_lr: the sample that the LR stage ended with, before the last rounding.
        kept_plain: per picture, whether the plain LR was returned because the sample restored worse by a term of the
            loss.
        psnr, plain_psnr: per picture, PSNR over RGB in dB of the restored 8-bit picture, from ``lr`` and from
            ``plain_lr``; None where no stage ran, since nothing had to be restored.
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
    history: tuple[Evaluation, ...]
    seconds: float

    @classmethod
    def of(cls, samples: Sequence[Sample], history: Sequence[Evaluation], seconds: float) -> Result:
        """Join what was found for the pictures of a batch."""
        return cls(
            lr=torch.cat([sample.lr for sample in samples]),
            plain_lr=torch.cat([sample.plain_lr for sample in samples]),
            collaborative_hr=torch.cat([sample.collaborative_hr for sample in samples]),
            lr_start=torch.cat([sample.lr_start for sample in samples]),
            collaborative_lr=torch.cat([sample.collaborative_lr for sample in samples]),
            kept_plain=tuple(sample.kept_plain for sample in samples),
            psnr=tuple(sample.psnr for sample in samples),
            plain_psnr=tuple(sample.plain_psnr for sample in samples),
            history=tuple(history),
            seconds=seconds,
        )

    @property
    def grad_evals(self) -> int:
        """Gradient evaluations spent on all images together."""
        return len(self.history)
