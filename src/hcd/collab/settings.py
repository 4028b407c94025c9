"""Settings of the method, and the presets that name combinations of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, Literal, TypedDict, Unpack

from hcd.collab.losses import Loss, SquaredError, get_loss
from hcd.errors import UsageError, named, unknown_name
from hcd.nets.cpu.precision import PRECISIONS
from hcd.ops import NORMS
from hcd.solver import LBFGS, NormalizedGradient, StepRule, get_rule


class Changes(TypedDict, total=False):
    """Changes of :class:`Settings` by keyword: its fields, with names in place of rule and loss where there are any."""

    steps_hr: int
    steps_lr: int
    rule: StepRule | str
    loss: Loss | str
    norm: str
    epsilon_hr: float
    epsilon_lr: float
    random_start: bool
    keep: Literal["best", "last"]
    round_hr: bool
    never_worse: bool
    direction: Literal["collaborative", "adversarial"]
    max_change: int | None
    min_lr_psnr: float
    target_psnr: float
    tolerance: float
    max_seconds: float
    seed: int
    precision: Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one solve. Pixel values are in [0, 1]; a gray level is 1/255.

    >>> PRESETS["fast"].replace(steps_lr=5).evaluations
    5

    Attributes:
        steps_hr, steps_lr: gradient evaluations of the HR stage and of the LR stage after it; 0 skips the stage.
        rule: step rule of both stages, or its name, see ``hcd.solver.RULES``.
        loss: loss to minimize, or its name, see ``hcd.collab.LOSSES``.
        norm, epsilon_hr, epsilon_lr: ball that bounds the perturbation of each stage, see
            :func:`hcd.ops.project_ball`. The norm is taken over the whole tensor, with values in [0, 1].
        random_start: start each stage at a random point of its l2 ball: normal direction, uniform radius.
        keep: keep the ``best`` evaluated point of a stage, or its ``last`` iterate.
        round_hr: round the LR, with straight-through gradients, in the HR stage.
        never_worse: return the plain LR if the result reconstructs worse by any term of the loss.
        direction: ``collaborative`` minimizes the loss, ``adversarial`` maximizes it.
        max_change: largest difference between the final LR and the plain LR, in whole gray levels; None for no bound.
        min_lr_psnr: least PSNR (RGB, dB) of the final LR against the plain LR.
        target_psnr: stop at this PSNR (RGB, dB) of the restored image, measured before its last rounding.
        tolerance: stop a stage if three evaluations lowered its loss by less than this share.
        max_seconds: stop after this time.
        seed: seed of the random starts.
        precision: precision of gradients, see :func:`hcd.nets.cpu.precision.gradient_precision`. It affects the
            history and ``target_psnr``; the metrics of the result are always computed in float32.
    """

    steps_hr: int = 0
    steps_lr: int = 0
    rule: StepRule = field(default_factory=LBFGS)
    loss: Loss = field(default_factory=SquaredError)
    norm: str = "linf"
    epsilon_hr: float = math.inf
    epsilon_lr: float = math.inf
    random_start: bool = False
    keep: Literal["best", "last"] = "best"
    round_hr: bool = True
    never_worse: bool = True
    direction: Literal["collaborative", "adversarial"] = "collaborative"
    max_change: int | None = None
    min_lr_psnr: float = -math.inf
    target_psnr: float = math.inf
    tolerance: float = 0.0
    max_seconds: float = math.inf
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "float32"

    @property
    def evaluations(self) -> int:
        """Gradient evaluations of both stages, at most."""
        return self.steps_hr + self.steps_lr

    def replace(self, **changes: Unpack[Changes]) -> Settings:
        """Return these settings, some of them changed.

        Raises:
            UsageError: unknown setting, or a value that cannot be used.
        """
        values: dict[str, Any] = dict(changes)
        for name, value in values.items():
            if name not in self.__dataclass_fields__:
                raise UsageError(unknown_name("setting", name, self.__dataclass_fields__))
            if isinstance(value, str) and name in _BY_NAME:
                values[name] = _BY_NAME[name](value)
        return replace(self, **values) if values else self

    def __post_init__(self) -> None:
        if not (_is_count(self.steps_hr) and _is_count(self.steps_lr)):
            raise UsageError(f"steps_hr {self.steps_hr}, steps_lr {self.steps_lr}: must be whole numbers, 0 or more")
        for name, kind, remedy in (
            ("rule", StepRule, "a step rule of hcd.solver, such as LBFGS()"),
            ("loss", Loss, "a loss of hcd.collab, such as SquaredError()"),
        ):
            if not isinstance(getattr(self, name), kind):
                raise UsageError(f"{name} {getattr(self, name)!r}: must be {remedy}, or its name")
        for name, value, known in (
            ("norm", self.norm, NORMS),
            ("keep", self.keep, ("best", "last")),
            ("direction", self.direction, ("collaborative", "adversarial")),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise UsageError(unknown_name(name, value, known))
        if not (self.epsilon_hr >= 0 and self.epsilon_lr >= 0):
            raise UsageError(f"epsilon_hr {self.epsilon_hr}, epsilon_lr {self.epsilon_lr}: must be 0 or more")
        if self.random_start and (self.norm != "l2" or math.isinf(max(self.epsilon_hr, self.epsilon_lr))):
            raise UsageError("random_start: needs norm 'l2' and finite epsilon_hr and epsilon_lr")
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


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and int(value) >= 0


# Luma counts twice, since viewers and the usual metrics weigh it most (docs/notes/0024). The ball of 8 gray levels is
# seldom reached; the LR stays within 38 dB of the plain LR.
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

_BY_NAME: dict[str, Callable[[str], Any]] = {"rule": get_rule, "loss": get_loss}


def get_settings(preset: str | Settings, **changes: Unpack[Changes]) -> Settings:
    """Return the settings of a preset, or the given ones, some of them changed.

    Raises:
        UsageError: unknown preset or setting, or a value that cannot be used.
    """
    if isinstance(preset, str):
        return named("preset", preset, PRESETS).replace(**changes)
    if not isinstance(preset, Settings):
        raise UsageError(f"preset {preset!r}: must be the name of a preset or Settings; known: {', '.join(PRESETS)}")
    return preset.replace(**changes)
