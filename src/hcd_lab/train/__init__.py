"""Training: recipes, patches, the loop, campaigns."""

from hcd_lab.train.campaign import Plan, least_trained, make_plan, read_plan, run_campaign, write_plan
from hcd_lab.train.card import render_card
from hcd_lab.train.distributed import World, join_world
from hcd_lab.train.loop import Progress, train
from hcd_lab.train.patches import Patches, picture_files
from hcd_lab.train.recipe import IRNNetwork, Phase, Recipe, get_recipe, recipe_names
from hcd_lab.train.speed import prefers_bfloat16
from hcd_lab.train.step import Execution
from hcd_lab.train.validation import Validation

__all__ = [
    "Execution",
    "IRNNetwork",
    "Patches",
    "Phase",
    "Plan",
    "Progress",
    "Recipe",
    "Validation",
    "World",
    "get_recipe",
    "join_world",
    "least_trained",
    "make_plan",
    "picture_files",
    "prefers_bfloat16",
    "read_plan",
    "recipe_names",
    "render_card",
    "run_campaign",
    "train",
    "write_plan",
]
