"""``hcd campaign``: a plan, a log, weights and a card, and on from there with the next call."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import save_file

import hcd as package
from hcd.nets import IRN
from hcd.zoo import read_metadata, registry
from hcd_lab.train import campaign
from hcd_lab.train import recipe as recipes
from tests.cli.checks import assert_one_line, files_in
from tests.hcd_lab.train.tiny import TINY_TOML

LEFT_BEHIND = ["campaign.json", "irn-x2.checkpoint.pt", "irn-x2.log.jsonl", "irn-x2.md", "irn-x2.safetensors"]


@pytest.fixture
def weights_folder(tmp_path, monkeypatch):
    """Nothing but a tiny ``irn-x2`` recipe ships, and no weights; the folder where weights would lie."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "weights").mkdir()
    (tmp_path / "recipes" / "irn-x2.toml").write_text("published_pixels = 1_000_000\n" + TINY_TOML, "utf-8")
    monkeypatch.setattr(recipes, "_SHIPPED", tmp_path / "recipes")
    monkeypatch.setattr(registry, "_WEIGHTS_FOLDERS", (tmp_path / "weights",))
    return tmp_path / "weights"


@pytest.fixture
def run(hcd, photo_file, weights_folder, tmp_path):
    """``run("--time", "1", ...)`` makes a campaign on three pictures into ``tmp_path/out``."""
    for seed in range(3):
        folder = photo_file(f"data/{seed}.png", width=40, height=30, seed=seed).parent

    def campaign(*options):
        return hcd("campaign", "--data", folder, "-o", tmp_path / "out", "--device", "cpu", *options)

    return campaign


def steps(result, tmp_path):
    """Steps that a call made in all."""
    assert result.exit_code == 0, result.output
    return int(read_metadata(tmp_path / "out" / "irn-x2.safetensors")["steps"])


def test_campaign_of_a_second(run, tmp_path):
    """What is fastest here is measured, and a second of it is planned."""
    result = run("--time", "1")
    plan = json.loads((tmp_path / "out" / "campaign.json").read_text("utf-8"))
    assert steps(result, tmp_path) == plan["recipe"]["steps"] >= 1
    assert files_in(tmp_path / "out") == LEFT_BEHIND
    assert "patches/s" in result.stdout
    assert f"irn-x2: {plan['recipe']['steps']} steps from nothing, " in result.stdout
    assert "of the peak of matrix products here" in result.stdout
    assert "2 pictures on cpu" in result.stdout
    assert f"card: {tmp_path / 'out' / 'irn-x2.md'}" in result.stdout
    assert (tmp_path / "out" / "irn-x2.md").read_text("utf-8").startswith("# irn-x2\n")
    assert package.load("irn-x2", weights=tmp_path / "out" / "irn-x2.safetensors").scale == 2
    log = [json.loads(line) for line in (tmp_path / "out" / "irn-x2.log.jsonl").read_text("utf-8").splitlines()]
    assert log[-1]["step"] == plan["recipe"]["steps"]


@pytest.mark.slow
def test_second_call_goes_on(run, tmp_path, monkeypatch):
    """With the plan of the first, which is not made again."""
    first = steps(run("--time", "2", "--time-limit", "0"), tmp_path)
    plan = (tmp_path / "out" / "campaign.json").read_bytes()
    planned = json.loads(plan)["recipe"]["steps"]
    assert first < planned
    # There is nothing to log yet.
    assert files_in(tmp_path / "out") == [name for name in LEFT_BEHIND if "log" not in name]
    monkeypatch.delattr(campaign, "fastest")
    result = run("--time", "2")
    assert steps(result, tmp_path) == planned
    assert (tmp_path / "out" / "campaign.json").read_bytes() == plan
    # And a third finds nothing to do.
    weights = (tmp_path / "out" / "irn-x2.safetensors").read_bytes()
    assert steps(run("--time", "2"), tmp_path) == planned
    assert (tmp_path / "out" / "irn-x2.safetensors").read_bytes() == weights


def test_campaign_goes_on_from_shipped_weights(run, weights_folder, tmp_path):
    """And counts what they have seen."""
    save_file(IRN((1,)).state_dict(), weights_folder / "irn-x2.safetensors", metadata={"pixels": "123456789"})
    result = run("--time", "1", "--time-limit", "0")
    assert steps(result, tmp_path) == 0
    assert "steps from irn-x2, " in result.stdout
    assert read_metadata(tmp_path / "out" / "irn-x2.safetensors")["pixels"] == "123456789"


def test_validation_pictures_are_not_held_out_of_the_data(run, photo_file):
    check = photo_file("check/a.png", width=40, height=30, seed=9).parent
    result = run("--time", "1", "--time-limit", "0", "--validation", check)
    assert "3 pictures on cpu" in result.stdout


@pytest.mark.usefixtures("weights_folder")
def test_campaign_needs_a_time(hcd, tmp_path):
    result = hcd("campaign", "--data", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "--time" in result.stderr


def test_too_little_time(run, tmp_path):
    assert_one_line(run("--time", "0"), 1, "give more time")
    assert files_in(tmp_path / "out") == []


def test_unknown_recipe(run, tmp_path):
    assert_one_line(run("--time", "1", "--recipe", "irn-x"), 2, "Did you mean 'irn-x2'?")
    assert files_in(tmp_path / "out") == []


def test_damaged_plan(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "campaign.json").write_text('{"recipe": ', "utf-8")
    assert_one_line(run("--time", "1"), 1, tmp_path / "out" / "campaign.json", "move it away")
    assert (tmp_path / "out" / "campaign.json").read_text("utf-8") == '{"recipe": '


@pytest.mark.usefixtures("weights_folder")
def test_folder_without_pictures(hcd, tmp_path):
    (tmp_path / "data").mkdir()
    result = hcd("campaign", "--data", tmp_path / "data", "-o", tmp_path / "out", "--time", "1")
    assert_one_line(result, 1, tmp_path / "data", "no picture")
    assert files_in(tmp_path / "out") == []
