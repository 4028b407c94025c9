"""Training: recipes, patches, the loop, campaigns."""

from hcd.train.campaign import Plan, least_trained, make_plan, read_plan, run_campaign, write_plan
from hcd.train.card import render_card
from hcd.train.distributed import World, join_world
from hcd.train.loop import Progress, train
from hcd.train.patches import Patches, picture_files
from hcd.train.recipe import IRNNetwork, Recipe, Stage, get_recipe, recipe_names
from hcd.train.speed import prefers_bfloat16
from hcd.train.step import Execution
from hcd.train.validation import Validation

__all__ = [
    "Execution",
    "IRNNetwork",
    "Patches",
    "Plan",
    "Progress",
    "Recipe",
    "Stage",
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
