"""Recipe of a training run: one frozen record, read from a TOML file and checked before anything starts."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from hcd.errors import MissingDependencyError, UsageError, unknown_name

_SHIPPED = Path(__file__).parent / "recipes"
# Makes pydantic reject unknown entries.
_STRICT = {"extra": "forbid"}


_RANGES = {
    "steps": (0, math.inf),
    "warmup_steps": (1, math.inf),
    "learning_rate": (0, 1),
    "weight_decay": (0, 1),
    "gradient_clip": (0, math.inf),
    "ema_decay": (0, 1),
    "charbonnier_epsilon": (0, 1),
    "hr_weight": (0, math.inf),
    "luma_weight": (0, math.inf),
    "lr_weight": (0, math.inf),
    "latent_weight": (0, math.inf),
    "latent_std": (0, math.inf),
    "latent_share": (0, 1),
    "bfloat16_share": (0, 1),
    "published_pixels": (0, math.inf),
    "seed": (0, 2**32 - 1),
}


@dataclass(frozen=True, kw_only=True)
class IRNNetwork:
    """Couplings per level of an :class:`hcd.nets.IRN`."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    family: Literal["irn"] = "irn"
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1:
            raise UsageError(f"network: blocks {self.blocks} needs at least one coupling per level")

    @property
    def scale(self) -> int:
        return 1 << len(self.blocks)


@dataclass(frozen=True, kw_only=True)
class LightNetwork:
    """Hyper-parameters of a :class:`hcd.nets.Light`, see :class:`hcd.nets.LightShape`."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    family: Literal["light"] = "light"
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    convs: int = 3

    def __post_init__(self) -> None:
        if not self.blocks or len(self.blocks) != len(self.widths) or min(*self.blocks, *self.widths) < 1:
            raise UsageError(
                f"network: blocks {self.blocks}, widths {self.widths} need at least one coupling and one channel on "
                "each of the same levels"
            )
        if self.convs < 2:
            raise UsageError(f"network: convs {self.convs} must be at least 2")

    @property
    def scale(self) -> int:
        return 1 << len(self.blocks)


@dataclass(frozen=True, kw_only=True)
class HCFlowNetwork:
    """Steps per level of the main and the conditional flows of an :class:`hcd.nets.HCFlow`."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    family: Literal["hcflow"] = "hcflow"
    steps: tuple[int, ...] = (8, 8)
    conditional_steps: tuple[int, ...] = (6, 6)

    def __post_init__(self) -> None:
        steps = (*self.steps, *self.conditional_steps)
        if not self.steps or len(self.steps) != len(self.conditional_steps) or min(steps) < 1:
            raise UsageError(
                f"network: steps {self.steps}, conditional_steps {self.conditional_steps} need at least one step each "
                "on the same levels"
            )

    @property
    def scale(self) -> int:
        return 1 << len(self.steps)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of the run with its own batch and patch size.

    Attributes:
        share: share of the steps, in (0, 1]; the shares of all phases add up to 1.
        batch: patches per step, over all devices.
        patch: side of a patch in HR pixels.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    share: float = 1.0
    batch: int
    patch: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines the weights besides the pictures and the machine.

    Minimizes, over the weights, the mean over patches and steps of
    ``hr_weight · distance(hr_hat, hr) + luma_weight · distance(luma(hr_hat), luma(hr)) + lr_weight · (lr − bicubic)² +
    latent_weight · z²``, each a mean over elements, where ``hr_hat`` is rebuilt from the rounded LR and, in
    ``latent_share`` of the patches of a step, latents of standard deviation ``latent_std``; in the others, zeros. Only
    latents of that share count in the last term. Luma has the range of a channel.

    Attributes:
        name: name of the weights.
        network: the architecture.
        phases: batch and patch size over the run, in order.
        steps: number of steps of the optimizer.
        start: shipped weights that an empty run grows its network from (see ``hcd_lab.train.grow``); empty for none.
        optimizer: ``adam``, ``adamw``, or ``muon`` for the weights of inner convolutions and Adam for all else.
        learning_rate: peak of the learning rate, after ``warmup_steps`` of linear growth; half a cosine down to zero
            follows.
        weight_decay: weight decay of AdamW, and of Muon's weights.
        gradient_clip: largest norm of the gradient over all weights.
        ema_decay: decay of the moving average of the weights; the run writes this average.
        distance: ``charbonnier``, ``l1`` or ``l2``.
        bfloat16_share: share of the steps, from the first on, that may run in bfloat16 where that is faster.
        published_pixels: HR pixels of the published training; campaigns choose the recipe that has done the smallest
            share of it. 0 keeps a recipe out of campaigns.
        seed: seed of batches, flips, latents and initial weights.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    name: str
    network: IRNNetwork | LightNetwork | HCFlowNetwork
    phases: tuple[Phase, ...]
    steps: int
    start: str = ""
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    warmup_steps: int = 200
    gradient_clip: float = 1.0
    ema_decay: float = 0.998
    distance: Literal["charbonnier", "l1", "l2"] = "charbonnier"
    charbonnier_epsilon: float = 1e-3
    hr_weight: float = 1.0
    luma_weight: float = 0.0
    lr_weight: float = 1.0
    latent_weight: float = 0.1
    latent_std: float = 0.0
    latent_share: float = 1.0
    bfloat16_share: float = 0.8
    published_pixels: int = 0
    seed: int = 0

    @property
    def scale(self) -> int:
        return self.network.scale

    @property
    def largest_patch(self) -> int:
        return max(phase.patch for phase in self.phases)

    def phase_at(self, step: int) -> Phase:
        """Return the phase of a step, counted from 0."""
        done = 0.0
        for phase in self.phases:
            done += phase.share
            if step < round(done * self.steps):
                return phase
        return self.phases[-1]

    def pixels(self, step: int) -> int:
        """Return the HR pixels trained on before this step, over all devices."""
        total, first, done = 0, 0, 0.0
        for phase in self.phases:
            done += phase.share
            last = self.steps if phase is self.phases[-1] else round(done * self.steps)
            total += max(0, min(step, last) - first) * phase.batch * phase.patch**2
            first = last
        return total

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            # False for NaN.
            if not least <= getattr(self, name) <= most:
                ends = f"at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
                raise UsageError(f"recipe {self.name}: {name} {getattr(self, name)} must be {ends}")
        if not self.phases or not abs(sum(phase.share for phase in self.phases) - 1) <= 1e-6:
            raise UsageError(f"recipe {self.name}: the shares of its phases must add up to 1")
        for phase in self.phases:
            if min(phase.batch, phase.patch) < 1 or not phase.share > 0:
                raise UsageError(
                    f"recipe {self.name}: a phase needs a share above 0, a batch and a patch of at least 1"
                )
            if phase.patch % self.scale:
                raise UsageError(f"recipe {self.name}: patch {phase.patch} is not a multiple of the scale {self.scale}")


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def get_recipe(name: str) -> Recipe:
    """Return a shipped recipe by name, or any recipe by the path of its ``.toml`` file.

    Raises:
        UsageError: no such recipe (lists the known ones), or the file is not one; says which entry is wrong.
        MissingDependencyError: the extra ``train`` is not installed.
    """
    path = Path(name) if name.endswith(".toml") else _SHIPPED / f"{name}.toml"
    if path.parent == _SHIPPED and path.stem not in recipe_names():
        raise UsageError(unknown_name("recipe", name, recipe_names()))
    try:
        entries = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a recipe ({error}); give a name or a .toml file") from error
    return parse_recipe({"name": path.stem, **entries}, origin=str(path))


def parse_recipe(entries: dict[str, Any], *, origin: str) -> Recipe:
    """Make a recipe from plain values; errors name misspelled, missing and mistyped entries.

    Raises:
        UsageError: an entry is wrong.
        MissingDependencyError: the extra ``train`` is not installed.
    """
    try:
        from pydantic import TypeAdapter, ValidationError
    except ImportError as error:
        raise MissingDependencyError("recipes need pydantic; install it with: pip install 'hcd[train]'") from error
    if "stages" in entries:
        raise UsageError(f"{origin}: stages: this entry is now called phases; write [[phases]] for [[stages]]")
    try:
        network = entries.get("network")
        if isinstance(network, dict) and network.get("family") not in _FAMILIES:
            raise UsageError(
                f"{origin}: network.family: is {network.get('family')!r}, needs to be {' or '.join(_FAMILIES)}"
            )
        return TypeAdapter(Recipe).validate_python(entries)
    except ValidationError as error:
        first = _telling(error.errors(), entries)
        where = ".".join(str(part) for part in first["loc"] if part not in _FAMILIES.values())
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{origin}: {where}: {reason}" if where else f"{origin}: {reason}") from error


_FAMILIES = {"irn": "IRNNetwork", "light": "LightNetwork", "hcflow": "HCFlowNetwork"}


def _telling(errors: list[Any], entries: dict[str, Any]) -> Any:
    """Return the first relevant error: of a network, one of the family that the entries name."""
    network = entries.get("network")
    family = network["family"] if isinstance(network, dict) else ""
    others = set(_FAMILIES.values()) - {_FAMILIES.get(family, "")}
    return next((error for error in errors if not others & set(error["loc"])), errors[0])
