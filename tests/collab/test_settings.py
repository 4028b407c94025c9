"""Presets, and the validation of settings."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import hcd
from hcd.collab import Changes, Mixed, Settings, SquaredError, get_settings
from hcd.errors import UsageError
from hcd.solver import NormalizedGradient


def test_the_presets():
    assert list(hcd.PRESETS) == ["plain", "paper", "fast", "balanced", "best"]
    plain = hcd.PRESETS["plain"]
    assert (plain.steps_hr, plain.steps_lr) == (0, 0)
    costs = [preset.steps_hr + preset.steps_lr for preset in map(hcd.PRESETS.get, ("fast", "balanced", "best"))]
    assert costs == sorted(costs)


def test_paper_is_as_published():
    paper = hcd.PRESETS["paper"]
    assert (paper.steps_hr, paper.steps_lr) == (15, 15)
    assert paper.rule == NormalizedGradient(step_size=20 / 255)
    assert (paper.norm, paper.epsilon_hr, paper.epsilon_lr) == ("l2", 0.3, 0.3)
    assert (paper.random_start, paper.keep, paper.round_hr) == (True, "last", True)
    assert paper.loss == SquaredError(channel="rgb")
    assert not paper.never_worse


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_the_others_weigh_rgb_and_luma_and_are_never_worse(preset):
    assert hcd.PRESETS[preset].loss == Mixed(((0.5, SquaredError()), (0.5, SquaredError(channel="y"))))
    assert hcd.PRESETS[preset].never_worse
    assert hcd.PRESETS[preset].max_change is None


def test_overrides_replace_and_leave_the_preset_alone():
    before = dataclasses.replace(hcd.PRESETS["balanced"])
    changed = get_settings("balanced", steps_lr=3, seed=9)
    assert (changed.steps_lr, changed.seed) == (3, 9)
    assert dataclasses.replace(changed, steps_lr=before.steps_lr, seed=before.seed) == before
    assert hcd.PRESETS["balanced"] == before


def test_settings_take_the_place_of_a_name(photo):
    model = hcd.load("bicubic-x2")
    settings = hcd.PRESETS["fast"].replace(steps_lr=2, loss="y")
    assert settings == get_settings(settings) == get_settings("fast", steps_lr=2, loss="y")
    result = hcd.collaborate(photo, model, settings)
    assert result.grad_evals == 2
    assert torch.equal(result.lr, hcd.collaborate(photo, model, "fast", steps_lr=2, loss="y").lr)
    assert hcd.collaborate(photo, model, settings, steps_lr=1).grad_evals == 1


def test_changes_are_typed_for_every_field():
    assert list(Changes.__annotations__) == [field.name for field in dataclasses.fields(Settings)]


@pytest.mark.parametrize("wrong", [3, None, {"steps_lr": 3}], ids=str)
def test_what_is_neither_a_name_nor_settings(wrong):
    with pytest.raises(UsageError, match="must be the name of a preset or Settings; known: plain, paper"):
        get_settings(wrong)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        hcd.PRESETS["plain"].seed = 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"steps_hr": -1}, "steps_hr -1"),
        ({"steps_lr": -3}, "steps_lr -3"),
        ({"norm": "l3"}, "unknown norm 'l3'"),
        ({"epsilon_hr": -0.1}, "epsilon_hr -0.1"),
        ({"epsilon_lr": math.nan}, "epsilon_lr nan"),
        ({"random_start": True}, "random_start"),
        ({"random_start": True, "norm": "l2"}, "random_start"),
        ({"keep": "first"}, "unknown keep 'first'"),
        ({"direction": "sideways"}, "unknown direction 'sideways'"),
        ({"max_change": -1}, "max_change -1"),
        ({"max_change": 0.5}, "max_change 0.5"),
        ({"max_change": math.nan}, "max_change nan"),
        ({"max_change": math.inf}, "max_change inf"),
        ({"max_seconds": -1.0}, "max_seconds -1"),
        ({"max_seconds": math.nan}, "max_seconds nan"),
        ({"target_psnr": math.nan}, "target_psnr nan"),
        ({"steps_lr": 1.5}, "steps_lr 1.5"),
        ({"steps_hr": math.nan}, "steps_hr nan"),
        ({"seed": -1}, "seed -1"),
        ({"rule": "lbfsg"}, r"unknown step rule 'lbfsg'\. Did you mean 'lbfgs'"),
        ({"rule": 3}, "rule 3"),
        ({"loss": "mse"}, r"unknown loss 'mse'.*Known: rgb, y"),
        ({"loss": NormalizedGradient()}, "loss NormalizedGradient"),
        ({"min_lr_psnr": math.nan}, "min_lr_psnr nan"),
        ({"tolerance": -1e-3}, "tolerance"),
    ],
    ids=str,
)
def test_values_that_cannot_be_used(wrong, told):
    with pytest.raises(UsageError, match=told):
        get_settings("plain", **wrong)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UsageError, match=r"unknown preset 'bset'\. Did you mean 'best'\? Known: plain, paper, fast"):
        get_settings("bset")
    with pytest.raises(UsageError, match=r"unknown setting 'epsilon_rl'\. Did you mean 'epsilon_lr'\? Known: steps_hr"):
        get_settings("plain", epsilon_rl=1.0)
