"""Devices by name."""

from __future__ import annotations

import pytest
import torch

import hcd
from hcd.errors import UsageError
from hcd.zoo import pick_device


def test_pick_device():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cpuu", "", "cuda:99", "cpu:x", "meta"])
def test_device_that_is_not_there(name):
    with pytest.raises(UsageError, match=f"device '{name}'"):
        pick_device(name)


def test_load_checks_the_device():
    with pytest.raises(UsageError, match="device 'nope'"):
        hcd.load("bicubic-x2", device="nope")
