"""Recipes: what ships, what a file may say, what is checked, and the schedules that a recipe stands for."""

from __future__ import annotations

import copy
import itertools
import math
import sys
import tomllib
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcd.errors import MissingDependencyError, UsageError
from hcd_lab.train import IRNNetwork, Phase, Recipe, get_recipe, recipe_names
from hcd_lab.train.recipe import parse_recipe
from hcd_lab.train.step import learning_rate
from tests.hcd_lab.train.tiny import TINY, TINY_TOML

ENTRIES = {"name": "tiny", **tomllib.loads(TINY_TOML)}


def with_entry(path, value):
    """The entries of ``TINY`` with one of them, ``a.b.c``, replaced or added."""
    entries = copy.deepcopy(ENTRIES)
    *parents, last = path.split(".")
    place = entries
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return entries


def without_entry(path):
    entries = with_entry(path, None)
    *parents, last = path.split(".")
    place = entries
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    del place[last]
    return entries


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes(name):
    recipe = get_recipe(name)
    assert recipe.name == name
    assert f"x{recipe.scale}" in name
    assert recipe.network.family in name
    assert recipe.steps > recipe.warmup_steps
    # A campaign weighs recipes by it, so it has to be that of the steps and patches that the file itself cites.
    published = {0, 500_000 * 16 * 144**2, 500_000 * 16 * 160**2}
    assert recipe.published_pixels in published
    assert not recipe.name.endswith("-small") or recipe.published_pixels == 0


def test_full_size_recipes_ship():
    assert {"irn-x2", "irn-x4", "irn-x8", "hcflow-x4"} <= set(recipe_names())
    assert get_recipe("irn-x4").network == IRNNetwork(blocks=(8, 8))


def test_unknown_recipe():
    with pytest.raises(UsageError, match="Did you mean 'irn-x4-small'") as caught:
        get_recipe("irn-x4-smal")
    assert all(name in str(caught.value) for name in recipe_names())


def test_recipe_of_ones_own(tmp_path):
    """It is called what its file is called, unless it says otherwise."""
    file = tmp_path / "tiny.toml"
    file.write_text(TINY_TOML, "utf-8")
    assert get_recipe(str(file)) == TINY
    file.write_text('name = "other"\n' + TINY_TOML, "utf-8")
    assert get_recipe(str(file)) == replace(TINY, name="other")


@pytest.mark.parametrize("content", [None, b"steps = = 6", b"\xff\xfe", b"steps"])
def test_file_that_is_no_recipe_gives_one_line(tmp_path, content):
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.toml: cannot be read as a recipe") as caught:
        get_recipe(str(file))
    assert len(str(caught.value).splitlines()) == 1


def test_recipe_survives_plain_values():
    """What a checkpoint, a plan and a weights file keep of a recipe is the whole of it."""
    for name in recipe_names():
        recipe = get_recipe(name)
        assert parse_recipe(asdict(recipe), origin="here") == recipe


@pytest.mark.parametrize("path", ["stepz", "network.block", "phases.0.patches", "learning-rate"])
def test_misspelled_entry_is_named(path):
    with pytest.raises(UsageError, match=rf"f\.toml: .*{path.split('.')[-1]}: Unexpected keyword"):
        parse_recipe(with_entry(path, 3), origin="f.toml")


def test_the_former_name_of_phases_is_told():
    entries = {**ENTRIES, "stages": ENTRIES["phases"]}
    del entries["phases"]
    with pytest.raises(UsageError, match=r"f\.toml: stages: this entry is now called phases"):
        parse_recipe(entries, origin="f.toml")


@pytest.mark.parametrize("path", ["steps", "network.blocks", "phases", "phases.0.batch", "phases.0.patch"])
def test_missing_entry_is_named(path):
    with pytest.raises(UsageError, match=rf"f\.toml: .*{path.split('.')[-1]}: "):
        parse_recipe(without_entry(path), origin="f.toml")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("steps", "many"),
        ("steps", 2.5),
        ("learning_rate", [1]),
        ("network.blocks", "deep"),
        ("network.blocks", 8),
        ("phases.0.batch", "two"),
        ("optimizer", "sgd"),
        ("distance", "l3"),
        ("seed", "luck"),
    ],
)
def test_mistyped_entry_is_named(path, value):
    with pytest.raises(UsageError, match=rf"f\.toml: .*{path.split('.')[-1]}: ") as caught:
        parse_recipe(with_entry(path, value), origin="f.toml")
    assert len(str(caught.value).splitlines()) == 1


def test_values_that_cannot_work_are_named_in_a_file_too():
    with pytest.raises(UsageError, match=r"f\.toml: .*must be at least 1"):
        parse_recipe(with_entry("warmup_steps", 0), origin="f.toml")


def test_without_pydantic_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'hcd\[train\]'"):
        get_recipe("irn-x4")


@pytest.mark.parametrize(("blocks", "scale"), [((1,), 2), ((2, 3), 4), ((1, 1, 1), 8)])
def test_scale_follows_the_blocks(recipe, blocks, scale):
    assert replace(recipe, network=IRNNetwork(blocks=blocks)).scale == scale


@pytest.mark.parametrize("blocks", [(), (2, 0), (-1,)])
def test_levels_without_couplings(blocks):
    with pytest.raises(UsageError, match="blocks"):
        IRNNetwork(blocks=blocks)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"phases": (Phase(batch=2, patch=17),)}, "patch 17"),
        ({"phases": (Phase(batch=2, patch=0),)}, "patch"),
        ({"phases": (Phase(batch=0, patch=16),)}, "batch"),
        ({"phases": (Phase(batch=2, patch=16, share=1.5), Phase(batch=2, patch=16, share=-0.5))}, "share"),
        ({"steps": -1}, "steps -1"),
        ({"warmup_steps": 0}, "warmup_steps 0"),
    ],
)
def test_values_that_cannot_work(recipe, change, named):
    with pytest.raises(UsageError, match=f"recipe tiny: .*{named}"):
        replace(recipe, **change)


@pytest.mark.parametrize("shares", [(), (0.5,), (0.5, 0.4), (0.5, 0.6), (1.0, 1.0)])
def test_shares_add_up_to_one(recipe, shares):
    phases = tuple(Phase(batch=1, patch=16, share=share) for share in shares)
    with pytest.raises(UsageError, match="add up to 1"):
        replace(recipe, phases=phases)


def test_phases_follow_each_other(recipe):
    first, second, third = (
        Phase(batch=4, patch=16, share=0.5),
        Phase(batch=2, patch=32, share=0.3),
        Phase(batch=1, patch=64, share=0.2),
    )
    staged = replace(recipe, phases=(first, second, third), steps=10)
    assert [staged.phase_at(step) for step in range(10)] == [first] * 5 + [second] * 3 + [third] * 2
    assert staged.largest_patch == 64


@given(
    steps=st.integers(0, 60),
    step=st.integers(0, 70),
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    batches=st.lists(st.integers(1, 5), min_size=5, max_size=5),
    sides=st.lists(st.integers(1, 5), min_size=5, max_size=5),
)
def test_pixels_are_those_of_the_phases_of_all_steps_before(steps, step, weights, batches, sides):
    phases = tuple(
        Phase(share=weight / sum(weights), batch=batch, patch=2 * side)
        for weight, batch, side in zip(weights, batches, sides, strict=False)
    )
    recipe = replace(TINY, phases=phases, steps=steps)
    seen = [recipe.phase_at(n) for n in range(min(step, steps))]
    assert recipe.pixels(step) == sum(phase.batch * phase.patch**2 for phase in seen)


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_every_phase_gets_its_share_of_the_steps(weights):
    phases = tuple(Phase(share=w / sum(weights), batch=1, patch=2 * (i + 1)) for i, w in enumerate(weights))
    recipe = replace(TINY, phases=phases, steps=1000)
    seen = [recipe.phase_at(step) for step in range(1000)]
    for phase in phases:
        assert seen.count(phase) == pytest.approx(1000 * phase.share, abs=1)


def test_learning_rate_rises_then_falls_to_nothing():
    recipe = Recipe(
        name="r",
        network=IRNNetwork(blocks=(1,)),
        phases=(Phase(batch=1, patch=16),),
        steps=1000,
        warmup_steps=100,
        learning_rate=0.5,
    )
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
