"""Every setting of the method, and the presets that name sets of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, Literal

from hcd.errors import UsageError, unknown_name
from hcd.ops import NORMS
from hcd.solver import LBFGS, NormalizedGradient, StepRule


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one picture is improved. Pixel values are in [0, 1]; a gray level is 1/255.

    Attributes:
        steps_hr, steps_lr: gradient evaluations of the HR and of the LR stage; 0 skips the stage.
        rule: the step rule of both stages.
        norm, epsilon_hr, epsilon_lr: ball that holds each stage's perturbation, over the whole picture.
        random_start: begin each stage at a random point of its (l2) ball: normal direction, uniform radius.
        keep: ``best`` evaluated point of a stage, or its ``last`` iterate.
        round_hr, round_lr: round the LR straight-through inside the loop of that stage.
        never_worse: return the plain LR where the result reconstructs worse.
        direction: ``collaborative`` descends the loss, ``adversarial`` ascends it.
        max_change: largest distance of the final LR from the plain LR, in whole gray levels.
        target_psnr: stop once the restored picture reaches this PSNR (RGB, dB), as the loop sees it.
        max_seconds: stop once this much time has passed.
        seed: of the random start.
    """

    steps_hr: int = 0
    steps_lr: int = 0
    rule: StepRule = field(default_factory=LBFGS)
    norm: str = "linf"
    epsilon_hr: float = math.inf
    epsilon_lr: float = math.inf
    random_start: bool = False
    keep: Literal["best", "last"] = "best"
    round_hr: bool = True
    round_lr: bool = False
    never_worse: bool = True
    direction: Literal["collaborative", "adversarial"] = "collaborative"
    max_change: int | None = None
    target_psnr: float = math.inf
    max_seconds: float = math.inf
    seed: int = 0

    @property
    def evaluations(self) -> int:
        """Gradient evaluations of both stages, at most."""
        return self.steps_hr + self.steps_lr

    def __post_init__(self) -> None:
        if not (_is_count(self.steps_hr) and _is_count(self.steps_lr)):
            raise UsageError(f"steps_hr {self.steps_hr}, steps_lr {self.steps_lr}: must be whole numbers, 0 or more")
        if not isinstance(self.rule, StepRule):
            raise UsageError(f"rule {self.rule!r}: must be a step rule of hcd.solver, such as LBFGS()")
        if self.norm not in NORMS:
            raise UsageError(unknown_name("norm", self.norm, NORMS))
        if not (self.epsilon_hr >= 0 and self.epsilon_lr >= 0):
            raise UsageError(f"epsilon_hr {self.epsilon_hr}, epsilon_lr {self.epsilon_lr}: must be 0 or more")
        if self.random_start and (self.norm != "l2" or math.isinf(max(self.epsilon_hr, self.epsilon_lr))):
            raise UsageError("random_start: needs norm 'l2' and finite epsilon_hr and epsilon_lr")
        if self.keep not in ("best", "last"):
            raise UsageError(unknown_name("keep", self.keep, ("best", "last")))
        if self.direction not in ("collaborative", "adversarial"):
            raise UsageError(unknown_name("direction", self.direction, ("collaborative", "adversarial")))
        if self.max_change is not None and not _is_count(self.max_change):
            raise UsageError(f"max_change {self.max_change}: must be a whole number of gray levels, 0 or more")
        if not self.max_seconds >= 0:
            raise UsageError(f"max_seconds {self.max_seconds}: must be 0 or more")
        if math.isnan(self.target_psnr):
            raise UsageError(f"target_psnr {self.target_psnr}: must be a number of dB")
        if not (_is_count(self.seed) and self.seed < 2**64):
            raise UsageError(f"seed {self.seed}: must be a whole number, 0 or more and under 2**64")


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and int(value) >= 0


PRESETS: dict[str, Settings] = {
    "plain": Settings(),
    "paper": Settings(
        steps_hr=15,
        steps_lr=15,
        rule=NormalizedGradient(step_size=20 / 255),
        norm="l2",
        epsilon_hr=0.3,
        epsilon_lr=0.3,
        random_start=True,
        keep="last",
        never_worse=False,
    ),
    "fast": Settings(steps_lr=5, epsilon_lr=8 / 255),
    "balanced": Settings(steps_lr=10, epsilon_lr=8 / 255),
    "best": Settings(steps_lr=30, epsilon_lr=8 / 255),
}


def get_settings(preset: str, **overrides: Any) -> Settings:
    """The settings of a preset with some of them replaced.

    Raises:
        UsageError: unknown preset or setting, or a value that cannot be used.
    """
    if preset not in PRESETS:
        raise UsageError(unknown_name("preset", preset, PRESETS))
    known = Settings.__dataclass_fields__
    for name in overrides:
        if name not in known:
            raise UsageError(unknown_name("setting", name, known))
    return replace(PRESETS[preset], **overrides)
