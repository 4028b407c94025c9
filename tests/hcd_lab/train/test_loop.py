"""The training loop: it learns, it repeats, it follows its phases, it measures, it leaves usable weights."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import hcd
from hcd.errors import HcdError, UsageError
from hcd.zoo import read_metadata
from hcd_lab.train import Execution, IRNNetwork, Patches, Phase, Validation, train
from hcd_lab.train.networks import RoundTrip
from hcd_lab.train.recipe import HCFlowNetwork
from tests.hcd_lab.train.tiny import TINY
from tests.hcd_lab.train.weights import assert_same, names


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, patches):
    """Weights of a run that nothing disturbed."""
    return train(TINY, patches, tmp_path_factory.mktemp("run"))


class Recording:
    """Patches that note what was asked of them."""

    def __init__(self, patches):
        self.scale, self.smallest, self._patches, self.asked = patches.scale, patches.smallest, patches, []

    def batch(self, count, patch, *, seed, step, **part):
        self.asked.append((step, count, patch))
        return self._patches.batch(count, patch, seed=seed, step=step, **part)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "adamw", "weight_decay": 0.01},
        {"optimizer": "muon"},
        {"bfloat16_share": 1.0},
    ],
    ids=str,
)
def test_loss_goes_down(recipe, patches, tmp_path, change):
    seen = []
    longer = replace(recipe, steps=40, learning_rate=2e-3, **change)
    train(
        longer, patches, tmp_path, execution=Execution(bfloat16=bool(change.get("bfloat16_share"))), on_step=seen.append
    )
    assert [progress.step for progress in seen] == list(range(1, 41))
    assert all(progress.steps == 40 for progress in seen)
    first, last = (sum(progress.loss for progress in part) / 8 for part in (seen[:8], seen[-8:]))
    assert last < 0.9 * first
    gain = sum(progress.psnr for progress in seen[-8:]) - sum(progress.psnr for progress in seen[:8])
    assert gain / 8 > 0.5
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(seen))


def test_progress_tells_speed_and_waiting(recipe, patches, tmp_path):
    seen = []
    train(recipe, patches, tmp_path, on_step=seen.append)
    last = seen[-1]
    assert last.patches_per_second == pytest.approx(6 * 2 / last.seconds, rel=0.01)
    assert all(0 < progress.waiting < 1 for progress in seen)


def test_weights_are_those_of_a_rescaler(uninterrupted):
    model = hcd.load("irn-x2", weights=uninterrupted)
    assert (model.scale, model.latent, model.name) == (2, "zeros", "irn-x2")
    hr = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert model.upscale(model.downscale(hr)).isfinite().all()


def test_weights_say_how_they_were_made(uninterrupted):
    metadata = read_metadata(uninterrupted)
    assert (metadata["architecture"], metadata["latent"], metadata["steps"]) == ("irn", "zeros", "6")
    assert metadata["pixels"] == str(6 * 2 * 16**2)
    assert json.loads(metadata["recipe"])["phases"] == [{"share": 1.0, "batch": 2, "patch": 16}]
    assert "1 threads" in metadata["machine"]


def test_training_changes_the_weights(uninterrupted):
    """The last convolution of every sub-network starts at zero."""
    last = [tensor for name, tensor in load_file(uninterrupted).items() if "conv5.weight" in name]
    assert len(last) == 3
    assert all(tensor.abs().max() > 0 for tensor in last)


def test_two_runs_are_identical(recipe, patches, tmp_path, uninterrupted):
    assert_same(train(recipe, patches, tmp_path), uninterrupted)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"gradient_clip": 1e-3},
        {"ema_decay": 0.1},
        {"latent_std": 1.0},
        {"latent_share": 0.5},
        {"luma_weight": 1.0},
    ],
    ids=str,
)
def test_every_entry_makes_a_difference(recipe, patches, tmp_path, uninterrupted, change):
    other, same = load_file(train(replace(recipe, **change), patches, tmp_path)), load_file(uninterrupted)
    assert any(not torch.equal(other[name], same[name]) for name in same)


def test_hcflow_begins_with_an_lr_picture(recipe, files, tmp_path):
    """Normalized as a flow's channels are, it would be 0 to 10 dB from one."""
    network = HCFlowNetwork(steps=(1, 1), conditional_steps=(1, 1))
    flow = replace(recipe, network=network, phases=(Phase(batch=4, patch=16),), latent_std=1.0, latent_share=0.25)
    seen = []
    train(flow, Patches(files, scale=4, smallest=16), tmp_path, time_limit=1e-9, on_step=seen.append)
    assert [progress.step for progress in seen] == [1]
    assert seen[0].lr_psnr > 25


def test_phases_switch_batch_and_patch(files, tmp_path):
    phases = (
        Phase(share=0.5, batch=3, patch=16),
        Phase(share=0.3, batch=2, patch=32),
        Phase(share=0.2, batch=1, patch=40),
    )
    recipe = replace(TINY, phases=phases, steps=10)
    recording = Recording(Patches(files, scale=2, smallest=40))
    weights = train(recipe, recording, tmp_path)
    expected = [(3, 16)] * 5 + [(2, 32)] * 3 + [(1, 40)] * 2
    # Some networks look at a batch before the first step.
    assert recording.asked[-10:] == [(step, *drawn) for step, drawn in enumerate(expected)]
    assert read_metadata(weights)["pixels"] == str(sum(count * patch**2 for count, patch in expected))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_bfloat16_is_for_its_share_of_the_steps(recipe, patches, tmp_path, share, monkeypatch):
    """And for none of them where the machine does not offer it."""
    used = []
    forward = RoundTrip.forward

    def noting(self, hr):
        used.append(torch.is_autocast_enabled("cpu"))
        return forward(self, hr)

    monkeypatch.setattr(RoundTrip, "forward", noting)
    chosen = replace(recipe, bfloat16_share=share)
    train(chosen, patches, tmp_path / "a", execution=Execution(bfloat16=True))
    assert used == [True] * round(6 * share) + [False] * (6 - round(6 * share))
    used.clear()
    train(chosen, patches, tmp_path / "b")
    assert used == [False] * 6


def test_validation_at_the_start_and_at_the_end(recipe, patches, files, tmp_path):
    validation = Validation(files, scale=2)
    seen, before = [], []

    def measured(round_trip):
        before.append(validation(round_trip))
        return before[-1]

    train(
        replace(recipe, learning_rate=2e-3, ema_decay=0.5), patches, tmp_path, validation=measured, on_step=seen.append
    )
    assert len(before) == 2
    assert [progress.validation_psnr for progress in seen] == [before[0]] * 5 + [before[1]]
    # What is measured is what is left behind.
    model = hcd.load("irn-x2", weights=tmp_path / "tiny.safetensors")
    assert before[1] != before[0]
    assert validation(RoundTrip(model.net)) == pytest.approx(before[1], abs=0.01)


def test_validation_as_often_as_asked(recipe, patches, files, tmp_path):
    calls = itertools.count(1)
    seen = []
    train(recipe, patches, tmp_path, validation=lambda round_trip: next(calls), validate_every=-1, on_step=seen.append)
    assert [progress.validation_psnr for progress in seen] == [2, 3, 4, 5, 6, 7]


def test_no_validation_is_no_number(recipe, patches, tmp_path):
    seen = []
    train(recipe, patches, tmp_path, on_step=seen.append)
    assert all(math.isnan(progress.validation_psnr) for progress in seen)


def test_nothing_is_left_beside_checkpoint_and_weights(recipe, patches, tmp_path):
    train(recipe, patches, tmp_path / "new" / "folder", checkpoint_every=-1)
    assert names(tmp_path / "new" / "folder") == ["tiny.checkpoint.pt", "tiny.safetensors"]


def test_black_pictures_are_no_reason_to_fail(recipe, tmp_path):
    """An untrained network is exact on them: an error of zero, which has no logarithm."""
    Image.new("RGB", (32, 32)).save(tmp_path / "night.png")
    seen = []
    train(recipe, Patches([tmp_path / "night.png"], scale=2, smallest=16), tmp_path / "run", on_step=seen.append)
    assert seen[0].lr_psnr == math.inf


def test_patches_of_another_scale_are_refused(recipe, files, tmp_path):
    with pytest.raises(UsageError, match="scale"):
        train(recipe, Patches(files, scale=4, smallest=16), tmp_path)


def test_pictures_that_are_too_small_for_the_last_phase_are_refused(recipe, patches, tmp_path):
    """Before the first step, not hours later."""
    phases = (Phase(share=0.9, batch=1, patch=16), Phase(share=0.1, batch=1, patch=32))
    with pytest.raises(UsageError, match="needs patches of 32, the pictures allow 16"):
        train(replace(recipe, phases=phases), patches, tmp_path)
    assert names(tmp_path) == []


def test_folder_that_cannot_be_written(recipe, patches, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HcdError, match="file"):
        train(recipe, patches, tmp_path / "file")


def test_deeper_network_trains_at_a_larger_scale(files, tmp_path):
    recipe = replace(TINY, network=IRNNetwork(blocks=(1, 1)), steps=2)
    weights = train(recipe, Patches(files, scale=4, smallest=16), tmp_path)
    assert hcd.load("irn-x4", weights=weights).scale == 4
