"""Runs that are stopped, killed or out of time go on as if nothing had happened."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest
import torch

import hcd
from hcd.errors import HcdError, TrainingError
from hcd_lab.train import Execution, IRNNetwork, Patches, Phase, train
from hcd_lab.train.recipe import HCFlowNetwork
from tests.hcd_lab.train.tiny import TINY
from tests.hcd_lab.train.weights import assert_same, assert_same_state, names


def stop_after(step):
    """A callback that ends the run from outside."""

    def on_step(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    return on_step


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, patches):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("run")
    train(TINY, patches, folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(whole_run):
    """Its weights."""
    return whole_run / "tiny.safetensors"


@pytest.mark.parametrize("step", [1, 5])
def test_killed_and_resumed_run_equals_the_uninterrupted_one(recipe, patches, tmp_path, whole_run, step):
    """A checkpoint after every step; the run dies after ``step``, whose own checkpoint is not yet written."""
    with pytest.raises(KeyboardInterrupt):
        train(recipe, patches, tmp_path, checkpoint_every=-1, on_step=stop_after(step))
    seen = []
    train(recipe, patches, tmp_path, on_step=seen.append)
    assert [progress.step for progress in seen] == list(range(step, 7))
    assert_same(tmp_path / "tiny.safetensors", whole_run / "tiny.safetensors")
    assert_same_state(tmp_path / "tiny.checkpoint.pt", whole_run / "tiny.checkpoint.pt")


@pytest.mark.parametrize(
    "change",
    [
        {"latent_std": 1.0},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "muon"},
        {"phases": (Phase(share=0.5, batch=2, patch=16), Phase(share=0.5, batch=1, patch=8))},
    ],
    ids=["noisy latents", "adamw", "muon", "phases"],
)
def test_whatever_the_recipe_says_is_resumed_bit_for_bit(recipe, patches, tmp_path, change):
    changed = replace(recipe, **change)
    train(changed, patches, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(changed, patches, tmp_path / "parts", checkpoint_every=-1, on_step=stop_after(4))
    # A process that is started again has another random state.
    torch.manual_seed(99)
    train(changed, patches, tmp_path / "parts")
    assert_same_state(tmp_path / "parts" / "tiny.checkpoint.pt", tmp_path / "whole" / "tiny.checkpoint.pt")
    assert_same(tmp_path / "parts" / "tiny.safetensors", tmp_path / "whole" / "tiny.safetensors")


@pytest.mark.slow
def test_hcflow_is_resumed_bit_for_bit(recipe, files, tmp_path):
    """Some of its layers begin at the statistics of the first batch, which must not happen again."""
    network = HCFlowNetwork(steps=(1, 1), conditional_steps=(1, 1))
    flow = replace(recipe, network=network, latent_std=1.0, lr_weight=0.05, latent_weight=1e-5, steps=3)
    patches = Patches(files, scale=4, smallest=16)
    train(flow, patches, tmp_path / "whole")
    seen = []
    for _ in range(3):
        torch.manual_seed(99)
        train(flow, patches, tmp_path / "parts", time_limit=1e-9, on_step=seen.append)
    assert [progress.step for progress in seen] == [1, 2, 3]
    assert_same_state(tmp_path / "parts" / "tiny.checkpoint.pt", tmp_path / "whole" / "tiny.checkpoint.pt")
    assert hcd.load("hcflow-x4", weights=tmp_path / "parts" / "tiny.safetensors").latent == "zeros"


def test_run_in_the_smallest_pieces_equals_the_uninterrupted_one(recipe, patches, tmp_path, uninterrupted):
    """Each piece ends by its time limit after one step."""
    for step in range(1, 7):
        seen = []
        weights = train(recipe, patches, tmp_path, time_limit=1e-9, on_step=seen.append)
        assert [progress.step for progress in seen] == [step]
    assert_same(weights, uninterrupted)


def test_seconds_are_those_of_all_pieces(recipe, patches, tmp_path):
    seen = []
    for _ in range(3):
        train(recipe, patches, tmp_path, time_limit=1e-9, on_step=seen.append)
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(seen))


def test_no_time_at_all_leaves_usable_weights(recipe, patches, tmp_path, uninterrupted):
    weights = train(recipe, patches, tmp_path, time_limit=0)
    assert names(tmp_path) == ["tiny.checkpoint.pt", "tiny.safetensors"]
    assert hcd.load("irn-x2", weights=weights).latent == "zeros"
    assert_same(train(recipe, patches, tmp_path), uninterrupted)


def test_finished_run_is_left_as_it_is(recipe, patches, tmp_path):
    """To the last byte: LR files name the hash of the weights file."""
    before = train(recipe, patches, tmp_path).read_bytes()
    seen = []
    assert train(recipe, patches, tmp_path, on_step=seen.append).read_bytes() == before
    assert seen == []


def test_lost_weights_of_a_finished_run_are_written_again(recipe, patches, tmp_path):
    weights = train(recipe, patches, tmp_path)
    before = weights.read_bytes()
    weights.unlink()
    assert train(recipe, patches, tmp_path).read_bytes() == before


def test_execution_of_the_checkpoint_is_kept(recipe, patches, tmp_path):
    """Another precision would change the last digits of a run that is to be continued exactly."""
    half, full = Execution(bfloat16=True), Execution()
    train(recipe, patches, tmp_path / "whole", execution=half)
    train(recipe, patches, tmp_path / "parts", execution=half, time_limit=1e-9)
    train(recipe, patches, tmp_path / "parts", execution=full)
    assert_same_state(tmp_path / "parts" / "tiny.checkpoint.pt", tmp_path / "whole" / "tiny.checkpoint.pt")
    kept = torch.load(tmp_path / "parts" / "tiny.checkpoint.pt", weights_only=True)["execution"]
    assert kept == {"device": "cpu", "bfloat16": True, "compiled": False, "graph": False}
    train(recipe, patches, tmp_path / "other", execution=full)
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "other" / "tiny.safetensors", tmp_path / "whole" / "tiny.safetensors")


def test_kill_while_saving_leaves_the_checkpoint_before(recipe, patches, tmp_path, uninterrupted, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(recipe, patches, tmp_path, checkpoint_every=-1, on_step=stop_after(3))

    def dies(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", dies)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, patches, tmp_path, checkpoint_every=-1)
    assert_same(train(recipe, patches, tmp_path), uninterrupted)


@pytest.mark.parametrize("survivors", [0, 1])
def test_kill_at_the_very_end_loses_nothing(recipe, patches, tmp_path, uninterrupted, monkeypatch, survivors):
    """After none or one of the two files of the last step got its name."""
    with pytest.raises(KeyboardInterrupt):
        train(recipe, patches, tmp_path, checkpoint_every=-1, on_step=stop_after(3))
    replace_file, calls = os.replace, itertools.count()

    def dies(source, target):
        if next(calls) >= survivors:
            raise KeyboardInterrupt
        replace_file(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, patches, tmp_path)
    assert_same(train(recipe, patches, tmp_path), uninterrupted)


@pytest.mark.parametrize("content", [b"", b"half a checkpoint"])
def test_damaged_checkpoint_is_named(recipe, patches, tmp_path, content):
    (tmp_path / "tiny.checkpoint.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"tiny\.checkpoint\.pt: cannot be continued"):
        train(recipe, patches, tmp_path)
    assert (tmp_path / "tiny.checkpoint.pt").read_bytes() == content


@pytest.mark.parametrize("lost", ["net", "step", "recipe"])
def test_checkpoint_that_lacks_something_is_named(recipe, patches, tmp_path, lost):
    train(recipe, patches, tmp_path, time_limit=0)
    path = tmp_path / "tiny.checkpoint.pt"
    state = torch.load(path, weights_only=True)
    del state[lost]
    torch.save(state, path)
    with pytest.raises(TrainingError, match=rf"tiny\.checkpoint\.pt: cannot be continued as tiny .*{lost}"):
        train(recipe, patches, tmp_path)


def test_checkpoint_of_other_shapes_is_named(recipe, patches, tmp_path):
    train(recipe, patches, tmp_path, time_limit=0)
    path = tmp_path / "tiny.checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["net"].popitem()
    torch.save(state, path)
    with pytest.raises(TrainingError, match=r"tiny\.checkpoint\.pt: cannot be continued as tiny"):
        train(recipe, patches, tmp_path)


@pytest.mark.parametrize(
    "change", [{"learning_rate": 1e-5}, {"network": IRNNetwork(blocks=(2,))}, {"steps": 7}], ids=str
)
def test_checkpoint_of_another_recipe_is_not_continued(recipe, patches, tmp_path, change):
    train(recipe, patches, tmp_path, time_limit=0)
    with pytest.raises(HcdError, match=r"tiny\.checkpoint\.pt: .*another recipe"):
        train(replace(recipe, **change), patches, tmp_path)
