"""What a training run is made of: one frozen record per recipe, and the recipes that ship."""

from __future__ import annotations

from dataclasses import dataclass

from hcd.errors import UsageError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, besides the pictures and the machine.

    Lengths are pixels of HR, rates are per step. The loss is
    ``Charbonnier(HR) + lr_weight · MSE(LR, bicubic LR) + latent_weight · mean(z²)``, each a mean over elements.
    """

    name: str
    blocks: tuple[int, ...]
    steps: int
    batch: int = 4
    patch: int = 96
    learning_rate: float = 5e-4
    warmup_steps: int = 200
    ema_decay: float = 0.998
    gradient_clip: float = 1.0
    lr_weight: float = 1.0
    latent_weight: float = 0.1
    charbonnier_epsilon: float = 1e-3
    bfloat16_share: float = 0.8
    """Share of the steps, from the first on, whose convolutions run in bfloat16; the rest run in float32."""
    seed: int = 0

    @property
    def scale(self) -> int:
        return 1 << len(self.blocks)

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1:
            raise UsageError(f"recipe {self.name}: blocks {self.blocks} needs at least one coupling per level")
        for name, least in (("steps", 0), ("batch", 1), ("patch", 1), ("warmup_steps", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"recipe {self.name}: {name} {getattr(self, name)} must be at least {least}")
        if self.patch % self.scale:
            raise UsageError(f"recipe {self.name}: patch {self.patch} is not a multiple of the scale {self.scale}")


_RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="irn-x2-small", blocks=(4,), steps=5000, ema_decay=0.999),
        Recipe(name="irn-x4-small", blocks=(4, 4), steps=6000),
    )
}


def recipe_names() -> list[str]:
    """Names that :func:`get_recipe` takes."""
    return sorted(_RECIPES)


def get_recipe(name: str) -> Recipe:
    """The shipped recipe of that name.

    Raises:
        UsageError: no such recipe; the message lists the known ones.
    """
    if name not in _RECIPES:
        raise UsageError(unknown_name("recipe", name, recipe_names()))
    return _RECIPES[name]
