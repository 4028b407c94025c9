"""Training: recipes, patches, the loop."""

from hcd.train.loop import Progress, train
from hcd.train.patches import Patches
from hcd.train.recipe import Recipe, get_recipe, recipe_names

__all__ = ["Patches", "Progress", "Recipe", "get_recipe", "recipe_names", "train"]
