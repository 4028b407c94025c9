"""Campaigns: which model, how many steps, and a plan that is kept and gone on with."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from hcd.errors import TrainingError, UsageError
from hcd.nets import IRN
from hcd.zoo import registry
from hcd_lab.train import Execution, Plan, campaign, least_trained, make_plan, read_plan, run_campaign, write_plan
from hcd_lab.train import recipe as recipes
from hcd_lab.train.speed import Speed, flops_per_pixel
from tests.hcd_lab.train.tiny import TINY, TINY_TOML
from tests.hcd_lab.train.weights import assert_same, names

PIXELS_PER_SECOND = 10 * 2 * 16**2  # ten steps of the tiny recipe
PLAN = Plan(recipe=TINY, execution=Execution(), pixels_per_second=1.5e6, share_of_peak=0.25)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Nothing but a tiny ``irn-x2`` recipe ships, and no weights; the folder where weights would lie."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "weights").mkdir()
    (tmp_path / "recipes" / "irn-x2.toml").write_text("published_pixels = 1_000_000\n" + TINY_TOML, "utf-8")
    monkeypatch.setattr(recipes, "_SHIPPED", tmp_path / "recipes")
    monkeypatch.setattr(registry, "_WEIGHTS_FOLDERS", (tmp_path / "weights",))
    return tmp_path / "weights"


@pytest.fixture
def speeds(monkeypatch):
    """Instead of measuring: the batch asked for last, at a fixed speed; what was asked is noted."""
    asked = []

    def fastest(recipe, device, *, batches, report):
        asked.append((recipe, device, batches))
        report("measured")
        phase = replace(recipe.phases[0], batch=batches[-1])
        return Speed(
            execution=Execution(device=device, bfloat16=True),
            phase=phase,
            pixels_per_second=PIXELS_PER_SECOND,
            flops_per_second=1.0,
        )

    monkeypatch.setattr(campaign, "fastest", fastest)
    monkeypatch.setattr(campaign, "matrix_peak", lambda device: 1e9)
    return asked


def plan_for(seconds, name="irn-x2"):
    return make_plan(name, seconds=seconds, device="cpu", report=lambda line: None)


@pytest.mark.parametrize(
    ("seen", "least"),
    [
        ({"irn-x2": 5, "irn-x4": 3, "irn-x8": 4, "hcflow-x4": 9}, "irn-x4"),
        ({"irn-x2": 1, "irn-x4": 3, "irn-x8": 4, "hcflow-x4": 9}, "irn-x2"),
        # Its published training is the longer one, so that as many pixels are a smaller share of it.
        ({"irn-x2": 3, "irn-x4": 3, "irn-x8": 3, "hcflow-x4": 3}, "hcflow-x4"),
        # What it would grow from counts where it has no weights of its own.
        ({"irn-x2": 3, "irn-x4": 3, "irn-x4-small": 2, "hcflow-x4": 3}, "irn-x8"),
        # Without any weights, it is not begun.
        ({"irn-x2": 3, "irn-x4": 4, "irn-x4-small": 5}, "irn-x2"),
    ],
)
def test_least_trained_has_the_smallest_share_of_its_published_training(monkeypatch, seen, least):
    """Recipes without one, such as those of half the depth, are not for campaigns."""
    monkeypatch.setattr(campaign, "trained_pixels", lambda name: 10**9 * seen.get(name, 0))
    assert least_trained() == least


@pytest.mark.usefixtures("shipped")
def test_plan_fits_the_time(speeds):
    plan = plan_for(100)
    # Batches of 1 instead of 2 make twice as many steps; some of the time is kept for what is not training.
    assert plan.recipe.phases == (replace(TINY.phases[0], batch=1),)
    assert 0.9 * 2000 < plan.recipe.steps < 2000
    assert plan_for(200).recipe.steps == pytest.approx(2 * plan.recipe.steps, abs=1)
    assert (plan.recipe.name, plan.recipe.start) == ("irn-x2", "")
    assert plan.execution == Execution(bfloat16=True)
    assert plan.pixels_per_second == PIXELS_PER_SECOND
    assert plan.share_of_peak == pytest.approx(PIXELS_PER_SECOND * flops_per_pixel(TINY) / 1e9)
    (recipe, device, batches), *_ = speeds
    assert (recipe.name, device) == ("irn-x2", "cpu")
    assert batches[-1] == 1


@pytest.mark.usefixtures("shipped")
def test_untrained_weights_get_the_full_learning_rate(speeds):
    assert plan_for(100).recipe.learning_rate == TINY.learning_rate


def test_short_runs_of_trained_weights_get_a_lower_learning_rate(shipped, speeds):
    """A trained network that is restarted at full rate first loses what it knew."""
    seen = 10**6
    save_file(IRN((1,)).state_dict(), shipped / "irn-x2.safetensors", metadata={"pixels": str(seen)})
    plans = [plan_for(seconds) for seconds in (2, 20, 100, 10_000)]
    rates = [plan.recipe.learning_rate for plan in plans]
    assert all(a < b for a, b in itertools.pairwise(rates[:3]))
    assert rates[-1] == TINY.learning_rate
    share = plans[0].recipe.pixels(10**9) / seen
    # The rest of the training that is behind it counts at least by its root.
    assert 0.99 * share < rates[0] / TINY.learning_rate < 1.01 * math.sqrt(share)
    assert all(plan.recipe.start == "irn-x2" for plan in plans)


def test_levels_to_learn_anew_get_the_full_learning_rate(shipped, speeds):
    """What the other levels have seen says nothing of them."""
    text = 'start = "irn-x2-small"\npublished_pixels = 1_000_000\n' + TINY_TOML.replace(
        "blocks = [1]", "blocks = [1, 1]"
    )
    (shipped.parent / "recipes" / "irn-x4.toml").write_text(text, "utf-8")
    save_file(IRN((1,)).state_dict(), shipped / "irn-x2-small.safetensors", metadata={"pixels": "1000000"})
    plan = plan_for(2, name="irn-x4")
    assert (plan.recipe.scale, plan.recipe.learning_rate) == (4, TINY.learning_rate)


@pytest.mark.usefixtures("shipped")
def test_moving_average_looks_back_over_a_part_of_the_run(speeds):
    for seconds in (0.2, 2, 20, 10_000):
        recipe = plan_for(seconds).recipe
        assert 0 <= recipe.ema_decay <= TINY.ema_decay
        assert recipe.ema_decay == 0 or 1 / (1 - recipe.ema_decay) <= max(recipe.steps / 15, 1 / (1 - TINY.ema_decay))
    assert plan_for(0.2).recipe.ema_decay == 0
    assert plan_for(10_000).recipe.ema_decay == TINY.ema_decay


@pytest.mark.usefixtures("shipped")
def test_warm_up_is_a_small_part_of_a_short_run(speeds):
    for seconds in (0.06, 0.2, 1, 100):
        recipe = plan_for(seconds).recipe
        assert 1 <= recipe.warmup_steps <= max(1, recipe.steps // 10)
        assert recipe.warmup_steps <= TINY.warmup_steps


@pytest.mark.usefixtures("shipped")
def test_all_stages_follow_the_batch(speeds, tmp_path):
    text = TINY_TOML.replace("batch = 2", "batch = 8\nshare = 0.5") + "[[phases]]\nbatch = 4\npatch = 32\nshare = 0.5\n"
    (tmp_path / "recipes" / "irn-x2.toml").write_text(text, "utf-8")
    plan = plan_for(100)
    assert [(phase.batch, phase.patch, phase.share) for phase in plan.recipe.phases] == [(4, 16, 0.5), (2, 32, 0.5)]
    assert plan.recipe.pixels(10**9) <= 100 * PIXELS_PER_SECOND
    assert plan.recipe.pixels(10**9) > 85 * PIXELS_PER_SECOND


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("seconds", [0, 0.01])
def test_too_little_time_is_an_error(speeds, seconds):
    with pytest.raises(TrainingError, match=r"irn-x2: 0 s are too short for one step .*; give more time"):
        plan_for(seconds)


def test_plan_of_an_unknown_recipe():
    with pytest.raises(UsageError, match="Did you mean 'irn-x4'"):
        plan_for(100, "irn-x44")


def test_plan_is_kept(tmp_path):
    write_plan(tmp_path / "campaign.json", PLAN)
    assert read_plan(tmp_path / "campaign.json", device="cpu") == PLAN


def test_plan_moves_to_another_device(tmp_path):
    """As runs do that a rented machine began."""
    graphs = replace(PLAN, execution=Execution(device="cuda", bfloat16=True, graph=True))
    write_plan(tmp_path / "campaign.json", graphs)
    kept = read_plan(tmp_path / "campaign.json", device="cuda:1")
    assert kept == replace(graphs, execution=replace(graphs.execution, device="cuda:1"))


def _spoiled(change):
    entries = json.loads(json.dumps({"recipe": {}, "execution": {}, "pixels_per_second": 1.0, "share_of_peak": 0.1}))
    return json.dumps({**entries, **change})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        _spoiled({}),
        _spoiled({"recipe": None}),
        _spoiled({"execution": 3}),
        "\x00",
    ],
)
def test_damaged_plan_is_one_clear_error(tmp_path, content):
    path = tmp_path / "campaign.json"
    path.write_text(content, "utf-8")
    with pytest.raises(TrainingError, match=r"campaign\.json: not a plan of a campaign .*; move it away"):
        read_plan(path, device="cpu")


@pytest.mark.parametrize("lost", ["recipe", "execution", "pixels_per_second", "share_of_peak"])
def test_plan_that_lacks_something_is_one_clear_error(tmp_path, lost):
    path = tmp_path / "campaign.json"
    write_plan(path, PLAN)
    entries = json.loads(path.read_text("utf-8"))
    del entries[lost]
    path.write_text(json.dumps(entries), "utf-8")
    with pytest.raises(TrainingError, match=r"campaign\.json: not a plan of a campaign .*; move it away"):
        read_plan(path, device="cpu")


def test_campaign_leaves_weights_log_and_nothing_else(tmp_path, files):
    reports, seen = [], []
    weights = run_campaign(files, tmp_path / "out", plan=PLAN, report=reports.append, on_step=seen.append)
    assert names(tmp_path / "out") == ["tiny.checkpoint.pt", "tiny.log.jsonl", "tiny.safetensors"]
    assert weights == tmp_path / "out" / "tiny.safetensors"
    assert [progress.step for progress in seen] == list(range(1, 7))
    # Of five pictures, the first is held out to validate on, and one is too small.
    assert reports[0].startswith("3 pictures on cpu")
    assert all(progress.validation_psnr > 5 for progress in seen)
    log = [json.loads(line) for line in (tmp_path / "out" / "tiny.log.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in log] == [1, 6]
    assert log[-1]["loss"] == seen[-1].loss


def test_campaign_in_pieces_ends_as_the_whole(tmp_path, files):
    whole = run_campaign(files, tmp_path / "whole", plan=PLAN)
    # No time is left once the pictures are read; then there is.
    parts = run_campaign(files, tmp_path / "parts", plan=PLAN, time_limit=0)
    with pytest.raises(AssertionError):
        assert_same(parts, whole)
    assert not (tmp_path / "parts" / "tiny.log.jsonl").exists()
    run_campaign(files, tmp_path / "parts", plan=PLAN)
    assert_same(parts, whole)


def test_log_is_written_as_the_run_goes(tmp_path, files):
    """A killed run leaves it; what it had done since its last checkpoint is done, and logged, again."""

    def steps():
        return [json.loads(line)["step"] for line in (tmp_path / "tiny.log.jsonl").read_text("utf-8").splitlines()]

    def breaks_off(progress):
        assert steps() == [1]
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_campaign(files, tmp_path, plan=PLAN, on_step=breaks_off)
    run_campaign(files, tmp_path, plan=PLAN)
    assert steps() == [1, 6]


def test_campaign_goes_on_from_shipped_weights(shipped, speeds, tmp_path, files):
    """A run of no steps leaves what it began with."""
    net = IRN((1,))
    save_file(net.half().state_dict(), shipped / "irn-x2.safetensors", metadata={"pixels": "1000"})
    plan = plan_for(100)
    weights = run_campaign(files, tmp_path / "out", plan=replace(plan, recipe=replace(plan.recipe, steps=0)))
    began, left = load_file(shipped / "irn-x2.safetensors"), load_file(weights)
    assert all(left[name].equal(began[name]) for name in began)
