"""Comparing what runs leave behind."""

from __future__ import annotations

import torch
from safetensors.torch import load_file


def assert_same(first, second):
    """Two weights files hold the same tensors, bit for bit."""
    first, second = load_file(first), load_file(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def assert_same_state(first, second):
    """Two checkpoints hold the same run, bit for bit, but for the seconds that it took."""
    first, second = (torch.load(path, weights_only=True) for path in (first, second))
    assert first.keys() == second.keys()
    assert first["step"] == second["step"]
    for part in ("net", "ema"):
        assert first[part].keys() == second[part].keys()
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])
    moments, others = first["optimizer"]["state"], second["optimizer"]["state"]
    assert moments.keys() == others.keys()
    assert all(torch.equal(moments[i][key], others[i][key]) for i in moments for key in moments[i])


def names(folder):
    return sorted(path.name for path in folder.iterdir())
