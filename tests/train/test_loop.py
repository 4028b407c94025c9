"""Training: it learns, it repeats, it goes on where it was stopped, it stops when it goes wrong."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import hcd
from hcd.errors import HcdError, TrainingError, UsageError
from hcd.train import Patches, Recipe, train
from hcd.zoo import read_metadata


def stop_after(step):
    """A callback that ends the run from outside."""

    def on_step(progress):
        if progress.step == step:
            raise KeyboardInterrupt

    return on_step


def assert_same(first, second):
    """Two weights files hold the same tensors, bit for bit."""
    first, second = load_file(first), load_file(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, patches):
    """Weights of a run that nothing disturbed."""
    recipe = Recipe(name="tiny", blocks=(1,), steps=6, batch=2, patch=16, warmup_steps=2)
    return train(recipe, patches, tmp_path_factory.mktemp("run"))


def test_loss_goes_down(recipe, patches, tmp_path):
    seen = []
    longer = replace(recipe, steps=40, learning_rate=2e-3, bfloat16_share=0)
    train(longer, patches, tmp_path, on_step=seen.append)
    assert [progress.step for progress in seen] == list(range(1, 41))
    assert all(progress.steps == 40 for progress in seen)
    first, last = (sum(progress.loss for progress in part) / 8 for part in (seen[:8], seen[-8:]))
    assert last < 0.9 * first
    gain = sum(progress.psnr for progress in seen[-8:]) - sum(progress.psnr for progress in seen[:8])
    assert gain / 8 > 0.5
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(seen))


def test_weights_are_those_of_a_rescaler(uninterrupted):
    model = hcd.load("irn-x2", weights=uninterrupted)
    assert (model.scale, model.latent, model.name) == (2, "zeros", "irn-x2")
    hr = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert model.upscale(model.downscale(hr)).isfinite().all()


def test_weights_say_how_they_were_made(uninterrupted):
    metadata = read_metadata(uninterrupted)
    assert (metadata["architecture"], metadata["latent"], metadata["steps"]) == ("irn", "zeros", "6")
    assert '"patch": 16' in metadata["recipe"]


def test_training_changes_the_weights(uninterrupted):
    """The last convolution of every sub-network starts at zero."""
    last = [tensor for name, tensor in load_file(uninterrupted).items() if "conv5.weight" in name]
    assert len(last) == 3
    assert all(tensor.abs().max() > 0 for tensor in last)


def test_two_runs_are_identical(recipe, patches, tmp_path, uninterrupted):
    assert_same(train(recipe, patches, tmp_path), uninterrupted)


def test_seed_makes_a_difference(recipe, patches, tmp_path, uninterrupted):
    other = load_file(train(replace(recipe, seed=1), patches, tmp_path))
    assert not torch.equal(
        other["operations.1.F.conv1.weight"], load_file(uninterrupted)["operations.1.F.conv1.weight"]
    )


@pytest.mark.parametrize("step", [1, 4, 5])
def test_killed_and_resumed_run_equals_the_uninterrupted_one(recipe, patches, tmp_path, uninterrupted, step):
    """A checkpoint after every step; the run dies after ``step``, whose own checkpoint is not yet written."""
    with pytest.raises(KeyboardInterrupt):
        train(recipe, patches, tmp_path, checkpoint_every=-1, on_step=stop_after(step))
    seen = []
    weights = train(recipe, patches, tmp_path, on_step=seen.append)
    assert [progress.step for progress in seen] == list(range(step, 7))
    assert_same(weights, uninterrupted)


def test_run_in_the_smallest_pieces_equals_the_uninterrupted_one(recipe, patches, tmp_path, uninterrupted):
    """Each piece ends by its time limit after one step."""
    for step in range(1, 7):
        seen = []
        weights = train(recipe, patches, tmp_path, time_limit=1e-9, on_step=seen.append)
        assert [progress.step for progress in seen] == [step]
    assert_same(weights, uninterrupted)


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


def test_nothing_is_left_beside_checkpoint_and_weights(recipe, patches, tmp_path):
    train(recipe, patches, tmp_path / "new" / "folder", checkpoint_every=-1)
    assert names(tmp_path / "new" / "folder") == ["tiny.checkpoint.pt", "tiny.safetensors"]


class Spoiled:
    """Patches that are no numbers."""

    def __init__(self, patches):
        self.scale, self._patches = patches.scale, patches

    def batch(self, count, *, seed, step):
        hr, lr = self._patches.batch(count, seed=seed, step=step)
        return hr * math.nan, lr


def test_checkpoint_of_another_recipe_is_not_continued(recipe, patches, tmp_path):
    train(recipe, patches, tmp_path, time_limit=0)
    with pytest.raises(TrainingError, match=r"tiny\.checkpoint\.pt: .*another recipe"):
        train(replace(recipe, learning_rate=1e-5), patches, tmp_path)


def test_loss_that_is_no_number_stops_the_run(recipe, patches, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(recipe, patches, tmp_path, checkpoint_every=-1, on_step=stop_after(3))
    before = (tmp_path / "tiny.checkpoint.pt").read_bytes()
    with pytest.raises(TrainingError, match=r"loss nan at step 2; last good checkpoint: .*tiny\.checkpoint\.pt"):
        train(recipe, Spoiled(patches), tmp_path)
    assert (tmp_path / "tiny.checkpoint.pt").read_bytes() == before


def test_loss_that_is_no_number_at_once_names_no_checkpoint(recipe, patches, tmp_path):
    """There is none yet, and a message must not send anybody to a file that is not there."""
    with pytest.raises(TrainingError, match="loss nan at step 0") as caught:
        train(replace(recipe, lr_weight=math.nan), patches, tmp_path)
    assert names(tmp_path) == []
    assert "tiny.checkpoint.pt" not in str(caught.value)


def test_black_pictures_are_no_reason_to_fail(recipe, tmp_path):
    """An untrained network is exact on them: an error of zero, which has no logarithm."""
    (tmp_path / "data").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "data" / "night.png")
    seen = []
    train(recipe, Patches([tmp_path / "data"], scale=2, patch=16), tmp_path / "run", on_step=seen.append)
    assert seen[0].lr_psnr == math.inf


@pytest.mark.parametrize("content", [b"", b"half a checkpoint"])
def test_damaged_checkpoint_is_named(recipe, patches, tmp_path, content):
    (tmp_path / "tiny.checkpoint.pt").write_bytes(content)
    with pytest.raises(HcdError, match=r"tiny\.checkpoint\.pt"):
        train(recipe, patches, tmp_path)


def test_checkpoint_of_another_recipe_is_named(recipe, patches, tmp_path):
    train(recipe, patches, tmp_path)
    with pytest.raises(HcdError, match=r"tiny\.checkpoint\.pt"):
        train(replace(recipe, blocks=(2,)), patches, tmp_path)


def test_patches_of_another_scale_are_refused(recipe, data, tmp_path):
    with pytest.raises(UsageError, match="scale"):
        train(recipe, Patches([data], scale=4, patch=16), tmp_path)


def test_folder_that_cannot_be_written(recipe, patches, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HcdError, match="file"):
        train(recipe, patches, tmp_path / "file")
