"""A run that goes wrong stops, and says from where it can go on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hcd.errors import TrainingError
from hcd_lab.train import train
from hcd_lab.train.loop import _Guard
from hcd_lab.train.step import Measured
from tests.hcd_lab.train.weights import names


class Spoiled:
    """Patches that turn into something else from a step on."""

    def __init__(self, patches, factor, first=0):
        self.scale, self.smallest, self._patches = patches.scale, patches.smallest, patches
        self._factor, self._first = factor, first

    def batch(self, count, patch, *, seed, step, **part):
        hr, lr = self._patches.batch(count, patch, seed=seed, step=step, **part)
        return (hr * self._factor, lr) if step >= self._first else (hr, lr)


def measured(loss):
    return Measured(torch.tensor(loss), torch.tensor(0.0), torch.tensor(0.0))


def test_loss_that_is_no_number_stops_the_run(recipe, patches, tmp_path):
    with pytest.raises(TrainingError, match=r"loss nan at step 3; last good checkpoint: .*tiny\.checkpoint\.pt"):
        train(recipe, Spoiled(patches, math.nan, first=3), tmp_path, checkpoint_every=-1)
    state = torch.load(tmp_path / "tiny.checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(tensor.isfinite().all() for tensor in state["net"].values())


def test_loss_that_explodes_stops_the_run(recipe, patches, tmp_path):
    """Its last checkpoint is of the time before: nobody loses more than the steps since then."""
    longer = replace(recipe, steps=20)
    with pytest.raises(
        TrainingError, match=r"tiny: loss exploded to .* at step 5; last good checkpoint: .*tiny\.checkpoint\.pt"
    ):
        train(longer, Spoiled(patches, 1e4, first=5), tmp_path, checkpoint_every=-1)
    assert torch.load(tmp_path / "tiny.checkpoint.pt", weights_only=True)["step"] == 5


def test_stopped_run_goes_on_from_there(recipe, patches, tmp_path):
    with pytest.raises(TrainingError):
        train(recipe, Spoiled(patches, math.nan, first=3), tmp_path, checkpoint_every=-1)
    seen = []
    train(recipe, patches, tmp_path, on_step=seen.append)
    assert [progress.step for progress in seen] == [4, 5, 6]


def test_loss_that_is_no_number_at_once_names_no_checkpoint(recipe, patches, tmp_path):
    """There is none yet, and a message must not send anybody to a file that is not there."""
    with pytest.raises(TrainingError, match="loss inf at step 0; last good checkpoint: none") as caught:
        train(replace(recipe, lr_weight=math.inf), patches, tmp_path)
    assert names(tmp_path) == []
    assert "tiny.checkpoint.pt" not in str(caught.value)


def test_one_hard_batch_is_no_explosion(tmp_path):
    guard = _Guard("tiny", tmp_path / "none")
    for loss in [1.0, 0.9, 50.0, 0.8, 0.7, 100.0]:
        assert guard.check(measured(loss), 0) == pytest.approx(loss)


def test_loss_that_creeps_up_is_noticed(tmp_path):
    """Without a single jump that would give it away."""
    guard = _Guard("tiny", tmp_path / "none")
    losses = (0.01 * 1.01**step for step in range(1000))
    with pytest.raises(TrainingError, match="loss exploded to"):
        list(map(guard.check, map(measured, losses), range(1000)))
    assert 8 * 0.01 < next(losses) < 100


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_noticed_at_once(tmp_path, loss):
    guard = _Guard("tiny", tmp_path / "none")
    guard.check(measured(1.0), 0)
    with pytest.raises(TrainingError, match=f"loss {loss} at step 1"):
        guard.check(measured(loss), 1)
