"""Every setting of the method, and the presets that name sets of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, Literal

from hcd.collab.losses import Loss, SquaredError, get_loss
from hcd.collab.penalties import Penalty
from hcd.collab.rounding import Rounding, Unrounded, get_rounding
from hcd.errors import UsageError, unknown_name
from hcd.nets.cpu.precision import PRECISIONS
from hcd.ops import BALL_GROUPS, NORMS
from hcd.solver import LBFGS, NormalizedGradient, StepRule, get_rule

STAGES = ("hr", "lr", "both")
OVER = ("tensor", *BALL_GROUPS)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one picture is improved. Pixel values are in [0, 1]; a gray level is 1/255.

    Attributes:
        steps_hr, steps_lr, steps_both: evaluations of the HR stage, of the LR stage, and of the stage that moves
            both samples at once; 0 skips the stage. A product with the curvature counts like a gradient.
        steps_finish: evaluations that flip single gray levels of the rounded LR picture, after all stages.
        stages: the order of the stages, each at most once.
        rule: the step rule of all stages; or its name, see ``hcd.solver.RULES``.
        loss: what is minimized; or its name, see ``hcd.collab.LOSSES``.
        penalties: added to the loss, see :class:`hcd.collab.Fidelity` and :class:`hcd.collab.FileSize`.
        norm, epsilon_hr, epsilon_lr, over: ball that holds each stage's perturbation. With ``over="tensor"``, the norm
            is taken over the whole tensor, in units of [0, 1] (as published: what it means depends on the size). With
            ``picture``, ``tile`` or ``pixel``, it is a mean over each of these: mean magnitude (``l1``), root mean
            square (``l2``) or largest (``linf``), and epsilon counts gray levels.
        random_start: begin each stage at a random point of its (l2) ball: normal direction, uniform radius.
        keep: ``best`` evaluated point of a stage, or its ``last`` iterate.
        round_hr: round the LR straight-through inside the loop of the HR stage.
        rounding: what stands for the rounded LR inside the loop of the other stages; or its name.
        never_worse: return the plain LR where the result reconstructs worse, by any term of the loss.
        direction: ``collaborative`` descends the loss, ``adversarial`` ascends it.
        max_change: largest distance of the final LR from the plain LR, in whole gray levels.
        min_lr_psnr: smallest PSNR (RGB, dB) of the final LR against the plain LR.
        target_psnr: stop once the restored picture reaches this PSNR (RGB, dB), as the loop sees it.
        tolerance: stop a stage once three evaluations lowered its loss by less than this share.
        max_seconds: stop once this much time has passed.
        seed: of random starts and random rounding.
        precision: of gradients, see :func:`hcd.nets.gradient_precision`, and so of what the loop sees: history and
            ``target_psnr``. The figures of the result are always float32.
    """

    steps_hr: int = 0
    steps_lr: int = 0
    steps_both: int = 0
    steps_finish: int = 0
    stages: tuple[str, ...] = ("hr", "lr")
    rule: StepRule = field(default_factory=LBFGS)
    loss: Loss = field(default_factory=SquaredError)
    penalties: tuple[Penalty, ...] = ()
    norm: str = "linf"
    epsilon_hr: float = math.inf
    epsilon_lr: float = math.inf
    over: str = "tensor"
    random_start: bool = False
    keep: Literal["best", "last"] = "best"
    round_hr: bool = True
    rounding: Rounding = field(default_factory=Unrounded)
    never_worse: bool = True
    direction: Literal["collaborative", "adversarial"] = "collaborative"
    max_change: int | None = None
    min_lr_psnr: float = -math.inf
    target_psnr: float = math.inf
    tolerance: float = 0.0
    max_seconds: float = math.inf
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "float32"

    def steps(self, stage: str) -> int:
        """Evaluations of a stage, or of the ``finish``."""
        steps = {"hr": self.steps_hr, "lr": self.steps_lr, "both": self.steps_both, "finish": self.steps_finish}
        return steps[stage]

    @property
    def evaluations(self) -> int:
        """Evaluations of all stages, at most."""
        return sum(self.steps(stage) for stage in self.stages) + self.steps_finish

    def __post_init__(self) -> None:
        self._check_stages()
        for name, kind, remedy in (
            ("rule", StepRule, "a step rule of hcd.solver, such as LBFGS()"),
            ("loss", Loss, "a loss of hcd.collab, such as SquaredError()"),
            ("rounding", Rounding, "a rounding of hcd.collab, such as Unrounded()"),
        ):
            if not isinstance(getattr(self, name), kind):
                raise UsageError(f"{name} {getattr(self, name)!r}: must be {remedy}, or its name")
        if not all(isinstance(penalty, Penalty) for penalty in self.penalties):
            raise UsageError(f"penalties {self.penalties!r}: must be a tuple of penalties, such as (Fidelity(),)")
        for name, value, known in (
            ("norm", self.norm, NORMS),
            ("over", self.over, OVER),
            ("keep", self.keep, ("best", "last")),
            ("direction", self.direction, ("collaborative", "adversarial")),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise UsageError(unknown_name(name, value, known))
        if not (self.epsilon_hr >= 0 and self.epsilon_lr >= 0):
            raise UsageError(f"epsilon_hr {self.epsilon_hr}, epsilon_lr {self.epsilon_lr}: must be 0 or more")
        if self.random_start and (
            self.norm != "l2" or self.over != "tensor" or math.isinf(max(self.epsilon_hr, self.epsilon_lr))
        ):
            raise UsageError("random_start: needs norm 'l2' over 'tensor' and finite epsilon_hr and epsilon_lr")
        if self.max_change is not None and not _is_count(self.max_change):
            raise UsageError(f"max_change {self.max_change}: must be a whole number of gray levels, 0 or more")
        for name in ("max_seconds", "tolerance"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} {getattr(self, name)}: must be 0 or more")
        for name in ("target_psnr", "min_lr_psnr"):
            if math.isnan(getattr(self, name)):
                raise UsageError(f"{name} {getattr(self, name)}: must be a number of dB")
        if not (_is_count(self.seed) and self.seed < 2**64):
            raise UsageError(f"seed {self.seed}: must be a whole number, 0 or more and under 2**64")

    def _check_stages(self) -> None:
        if not all(_is_count(steps) for steps in (self.steps_hr, self.steps_lr, self.steps_both, self.steps_finish)):
            raise UsageError(
                f"steps_hr {self.steps_hr}, steps_lr {self.steps_lr}, steps_both {self.steps_both}, steps_finish "
                f"{self.steps_finish}: must be whole numbers, 0 or more"
            )
        for stage in self.stages:
            if stage not in STAGES:
                raise UsageError(unknown_name("stage", stage, STAGES))
        if len(set(self.stages)) != len(self.stages):
            raise UsageError(f"stages {self.stages}: names a stage twice")
        for stage in STAGES:
            if self.steps(stage) and stage not in self.stages:
                raise UsageError(f"steps_{stage} {self.steps(stage)}: stages {self.stages} leave '{stage}' out; add it")


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and int(value) >= 0


# RGB, and luma once more, of which eyes and the field's figures see most (docs/notes/0024). A ball of 8 gray levels is
# seldom reached; the LR stays within 38 dB of the plain one.
_OURS = Settings(loss=get_loss("rgb+y"), epsilon_lr=8 / 255, min_lr_psnr=38.0, precision="auto")

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
    "fast": replace(_OURS, steps_lr=3),
    "balanced": replace(_OURS, steps_lr=8),
    "best": replace(_OURS, steps_lr=40),
}

_BY_NAME: dict[str, Callable[[str], Any]] = {"rule": get_rule, "loss": get_loss, "rounding": get_rounding}


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
    for name, of_name in _BY_NAME.items():
        if isinstance(overrides.get(name), str):
            overrides[name] = of_name(overrides[name])
    return replace(PRESETS[preset], **overrides)
