"""The settings of the method on the command line: the usual ones by name, all of them by ``--set``."""

from __future__ import annotations

import math
import re

import pytest

import hcd as package
from hcd.cli.settings import parse_changes
from hcd.collab import Settings
from hcd.errors import UsageError
from hcd.image import read_picture
from tests.cli.checks import assert_one_line

BICUBIC = ("--model", "bicubic-x2")


def test_texts_are_read_by_the_types_of_the_fields():
    texts = [
        "steps-lr = 5",
        "loss=y",
        "rule=adam",
        "random_start=yes",
        "max_change=none",
        "epsilon_lr=inf",
        "keep=last",
    ]
    assert parse_changes(texts) == {
        **{"steps_lr": 5, "loss": "y", "rule": "adam", "random_start": True},
        **{"max_change": None, "epsilon_lr": math.inf, "keep": "last"},
    }


def test_what_a_text_can_stand_for_is_a_field():
    """All but those that take objects."""
    with pytest.raises(UsageError) as caught:
        parse_changes(["?=1"])
    known = str(caught.value).rpartition("Known: ")[2].split(", ")
    assert set(Settings.__dataclass_fields__) - set(known) <= {"penalties", "rounding", "stored"}
    assert set(known) <= set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["steps_lr"], "--set steps_lr: needs NAME=VALUE"),
        (["steps_rl=3"], "unknown setting 'steps_rl'. Did you mean 'steps_lr'? Known: steps_hr"),
        (["steps_lr=many"], "--set steps_lr=many: 'many' is not a whole number"),
        (["tolerance=1%"], "'1%' is not a number"),
        (["never_worse=perhaps"], "'perhaps' is neither true nor false"),
        (["steps_lr=3", "steps-lr=4"], "steps_lr is given twice"),
    ],
)
def test_texts_that_cannot_be_read(texts, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        parse_changes(texts)


@pytest.mark.parametrize("command", ["downscale", "compare", "evaluate"])
def test_help_names_settings_that_there_are(hcd, command):
    shown = " ".join(hcd(command, "--help").output.split())
    examples = re.findall(r"(\w+)=\w", shown.partition("--set NAME=VALUE")[2])
    assert len(examples) >= 3
    assert set(examples) <= set(Settings.__dataclass_fields__)


def test_changes_reach_the_method(hcd, photo_file, tmp_path):
    common = ("downscale", photo_file(), *BICUBIC, "--set", "steps_lr=4", "--set", "loss=rgb")
    changes = {"as it is": (), "rule": ("--set", "rule=adam"), "ball": ("--set", "epsilon_lr=0.002")}
    files = set()
    for name, change in changes.items():
        result = hcd(*common, "-o", tmp_path / f"{name}.png", *change)
        assert result.exit_code == 0, result.output
        files.add((tmp_path / f"{name}.png").read_bytes())
    assert len(files) == len(changes)


def test_a_bound_on_the_small_picture_is_kept(hcd, photo_file, tmp_path):
    for name, options in (("plain", ("--preset", "plain")), ("near", ("--min-lr-psnr", "55"))):
        out = tmp_path / f"{name}.png"
        assert hcd("downscale", photo_file(), "-o", out, *BICUBIC, *options).exit_code == 0
    near, plain = (read_picture(tmp_path / f"{name}.png").rgb for name in ("near", "plain"))
    assert package.psnr(near, plain, channel="rgb") >= 55


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--set", "loss=mse"), "unknown loss 'mse'"),
        (("--set", "rule=lbfsg"), "Did you mean 'lbfgs'"),
        (("--set", "direction=sideways"), "unknown direction 'sideways'"),
        (("--set", f"seed={2**70}"), "seed"),
        (("--max-change", "3", "--set", "max_change=2"), "max_change: given twice"),
    ],
)
def test_values_that_cannot_be_used(hcd, photo_file, tmp_path, options, told):
    assert_one_line(hcd("downscale", photo_file(), "-o", tmp_path / "a.png", *BICUBIC, *options), 2, told)
    assert not (tmp_path / "a.png").exists()
