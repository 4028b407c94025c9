"""Reading the golden folder: weights filled by its recipe, arrays as the package's tensors."""

from __future__ import annotations

import functools
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@functools.cache
def spec(folder: Path, name: str) -> dict[str, Any]:
    """The description that goes with an array file."""
    return json.loads((folder / f"{name}.spec.json").read_text(encoding="utf-8"))


@functools.cache
def arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Every array of a file, by name."""
    with np.load(folder / f"{name}.golden.npz") as file:
        return dict(file)


@functools.cache
def _state_dict(folder: Path, name: str) -> dict[str, Tensor]:
    described = spec(folder, name)
    return {entry["key"]: _fill(entry, described["seed_offset"]) for entry in described["tensors"]}


def state_dict(folder: Path, name: str) -> dict[str, Tensor]:
    """The weights of a golden network, in the order of the official checkpoint; a copy that a test may spoil."""
    return {key: tensor.clone() for key, tensor in _state_dict(folder, name).items()}


def _fill(entry: dict[str, Any], seed_offset: int) -> Tensor:
    if entry["rule"] == "constant":
        values = np.array(entry["value"], dtype=np.float64).reshape(entry["shape"])
    else:
        assert entry["rule"] == "normal", entry["rule"]
        seed = (zlib.crc32(entry["key"].encode()) + seed_offset) & 0x7FFFFFFF
        assert seed == entry["seed"], entry["key"]
        values = np.random.RandomState(seed).standard_normal(entry["shape"]) * entry["std"] + entry["mean"]
    return torch.from_numpy(values.astype(np.float32))


def picture(pixels: np.ndarray) -> Tensor:
    """8-bit ``[H, W, 3]`` → float32 ``[1, 3, H, W]`` in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None].contiguous()


def batch(array: np.ndarray) -> Tensor:
    """``[C, H, W]`` → ``[1, C, H, W]``."""
    return torch.from_numpy(array)[None]
