"""Recipes: what they check, and the learning rate that they stand for."""

from __future__ import annotations

import itertools
import math
from dataclasses import FrozenInstanceError, replace

import pytest

from hcd.errors import UsageError
from hcd.train import Recipe, get_recipe, recipe_names
from hcd.train.loop import learning_rate


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes(name):
    recipe = get_recipe(name)
    assert recipe.name == name
    assert f"x{recipe.scale}" in name
    assert recipe.steps > recipe.warmup_steps


def test_unknown_recipe():
    with pytest.raises(UsageError, match="Did you mean 'irn-x4-small'"):
        get_recipe("irn-x4-smal")


def test_recipe_is_frozen(recipe):
    with pytest.raises(FrozenInstanceError):
        recipe.steps = 7


@pytest.mark.parametrize(("blocks", "scale"), [((1,), 2), ((2, 3), 4), ((1, 1, 1), 8)])
def test_scale_follows_the_blocks(recipe, blocks, scale):
    assert replace(recipe, blocks=blocks).scale == scale


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"blocks": ()}, "blocks"),
        ({"blocks": (2, 0)}, "blocks"),
        ({"blocks": (-1,)}, "blocks"),
        ({"patch": 17}, "patch 17"),
        ({"patch": 0}, "patch 0"),
        ({"batch": 0}, "batch 0"),
        ({"steps": -1}, "steps -1"),
        ({"warmup_steps": 0}, "warmup_steps 0"),
    ],
)
def test_values_that_cannot_work(recipe, change, named):
    with pytest.raises(UsageError, match=f"tiny: .*{named}"):
        replace(recipe, **change)


def test_learning_rate_rises_then_falls_to_nothing():
    recipe = Recipe(name="r", blocks=(1,), steps=1000, warmup_steps=100, learning_rate=0.5)
    rates = [learning_rate(recipe, step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.5 / 100)
    assert rates[49] == pytest.approx(0.25, rel=0.01)
    peak = rates.index(max(rates))
    assert 90 <= peak <= 100
    assert max(rates) == pytest.approx(0.5, rel=0.03)
    assert all(a < b for a, b in itertools.pairwise(rates[: peak + 1]))
    assert all(a > b for a, b in itertools.pairwise(rates[peak:]))
    assert rates[500] == pytest.approx(0.25)
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert rates[750] == pytest.approx(0.25 * (1 + math.cos(0.75 * math.pi)))
