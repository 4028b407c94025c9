"""Recipes, cards, plans and folders that are not what they should be, and files that must stay readable elsewhere."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict

import pytest
from PIL import Image

from hcd.errors import TrainingError, UsageError, WeightsError
from hcd_lab.train import Execution, Plan, read_plan, render_card, run_campaign, train
from hcd_lab.train.recipe import parse_recipe
from tests.hcd_lab.train.test_distributed import torchrun
from tests.hcd_lab.train.tiny import TINY, TINY_TOML

ENTRIES = {
    "name": "r",
    "steps": 5,
    "phases": [{"batch": 1, "patch": 16}],
    "network": {"family": "irn", "blocks": [1]},
}
PLAN = Plan(recipe=TINY, execution=Execution(), pixels_per_second=1.5e6, share_of_peak=0.25)


def refused(match, **entries):
    with pytest.raises(UsageError, match=match) as caught:
        parse_recipe({**ENTRIES, **entries}, origin="f.toml")
    assert str(caught.value).startswith("f.toml: ")


class TestRecipeOfAnotherFamily:
    """The entry that is wrong is named, not one of the family that was not asked for."""

    def test_misspelled(self):
        refused(r"network\.setps", network={"family": "hcflow", "setps": [1]})

    def test_mistyped(self):
        refused(r"network\.steps\.0", network={"family": "hcflow", "steps": ["many"]})

    @pytest.mark.parametrize("network", [{}, {"family": "grain"}, {"blocks": [1]}], ids=str)
    def test_unknown(self, network):
        refused("network.family: .*irn or light or hcflow", network=network)

    @pytest.mark.parametrize("steps", [[], [1, 1], [0]], ids=str)
    def test_levels_that_do_not_match(self, steps):
        refused("on the same levels", network={"family": "hcflow", "steps": steps, "conditional_steps": [1]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", math.nan),
        ("learning_rate", -1),
        ("ema_decay", 2),
        ("gradient_clip", -1),
        ("luma_weight", -1),
        ("latent_share", 1.5),
        ("bfloat16_share", math.nan),
        ("seed", -1),
    ],
)
def test_numbers_outside_their_range(name, value):
    refused(f"{name} .* must be", **{name: value})


def test_share_that_is_no_number():
    refused("shares", phases=[{"batch": 1, "patch": 16, "share": math.nan}])


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x10\0\0\0\0\0\0\0{"])
def test_card_of_a_damaged_file(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        render_card(tmp_path / "x.safetensors")


def test_card_with_figures_that_could_not_be_measured(tmp_path, patches):
    """JSON has no infinity; what is infinite is null there."""
    weights = train(TINY, patches, tmp_path)
    figures = {"Set5": {"plain": {"psnr_y": None, "ssim_y": 1.0, "lr_psnr": 40.0}}, "Set14": {"plain": {}}}
    card = render_card(weights, metrics=figures)
    assert "| Set5 | – / 1.0000 | 40.0 |" in card
    assert "| Set14 | not measured | – |" in card


def test_campaign_on_one_picture(tmp_path, files):
    with pytest.raises(TrainingError, match="no training picture is left"):
        run_campaign(files[:1], tmp_path, plan=PLAN)


def test_campaign_does_not_train_on_what_it_validates_on(tmp_path, files):
    counts = []
    for held in (1, 2):
        lines = []
        run_campaign(files, tmp_path / str(held), plan=PLAN, validation_files=files[:held], report=lines.append)
        counts.append(int(lines[0].split()[0]))
    assert counts[0] == counts[1] + 1


def test_log_is_json_that_others_read(tmp_path):
    """Black pictures are exact from the first step on: their PSNR is infinite."""
    for name in "abc":
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
    run_campaign([tmp_path / f"{name}.png" for name in "abc"], tmp_path / "out", plan=PLAN)
    lines = (tmp_path / "out" / "tiny.log.jsonl").read_text().splitlines()
    assert lines
    for line in lines:
        json.loads(line, parse_constant=pytest.fail)


def test_run_that_its_time_limit_ends_is_validated(tmp_path, patches):
    count, seen = itertools.count(1), []
    train(TINY, patches, tmp_path, validation=lambda net: next(count), time_limit=1e-9, on_step=seen.append)
    assert seen[-1].validation_psnr == 2


def test_metadata_of_weights_are_in_order(tmp_path, patches):
    """Equal weights have equal bytes, which LR files name by their hash."""
    data = train(TINY, patches, tmp_path).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])


@pytest.mark.parametrize(("place", "value"), [("share_of_peak", "high"), ("bfloat16", "yes")])
def test_plan_with_wrong_values(tmp_path, place, value):
    entries = asdict(PLAN)
    (entries if place in entries else entries["execution"])[place] = value
    (tmp_path / "plan.json").write_text(json.dumps(entries))
    with pytest.raises(TrainingError, match="not a plan of a campaign"):
        read_plan(tmp_path / "plan.json", device="cpu")


@pytest.mark.slow
def test_two_processes_on_a_network_of_one_level(tmp_path, data):
    (tmp_path / "tiny.toml").write_text(TINY_TOML)
    options = ("--data", data, "-o", tmp_path / "out", "--device", "cpu", "--precision", "float32")
    result = torchrun(2, "train", tmp_path / "tiny.toml", *options)
    assert result.returncode == 0, result.stderr
