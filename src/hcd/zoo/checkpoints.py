"""Weights files as data: this project's safetensors and official pickled state_dicts, nothing executed."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from hcd.errors import WeightsError, printable


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights in memory.

    Attributes:
        path: the file they came from.
        tensors: name → float32 tensor on the CPU.
        metadata: what this project's files say of themselves; empty for official files.
        weights_hash: first 16 hexadecimal digits of the SHA-256 of the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    weights_hash: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read ``.safetensors`` or an official ``.pth``; half-precision tensors are widened to float32.

    Raises:
        WeightsError: the file is not there, cannot be read, or holds something else than tensors.
    """
    tensors, metadata = read_content(path)
    if not isinstance(tensors, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in tensors.items()
    ):
        raise WeightsError(f"{path}: holds something else than named tensors; give a bare state_dict")
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or not tensor.is_floating_point() or not tensor.isfinite().all():
            raise WeightsError(f"{path}: {key}: holds something else than finite floating point numbers")
    named = {key.removeprefix("module."): tensor.float() for key, tensor in tensors.items()}
    return Checkpoint(path=path, tensors=named, metadata=metadata, weights_hash=hash_file(path))


def read_content(path: Path) -> tuple[Any, dict[str, str]]:
    """What is in a ``.safetensors`` file or a pickle of bare data, on the CPU, and the former's metadata.

    Raises:
        WeightsError: no such file, a damaged one, or a pickle that asks for more than tensors and plain containers.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; check the path given as weights")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
        with warnings.catch_warnings():
            # It warns of pickle protocols and storages that official files have; what fits is checked later.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True), {}
    except Exception as error:  # a damaged pickle ends in whatever its broken instructions raise
        if isinstance(error, pickle.UnpicklingError):
            # PyTorch's own words advise to execute what is in the file.
            reason = "it is damaged, or a pickle of more than tensors"
        else:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); give a .safetensors or .pth file") from error


def hash_file(path: Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a weights file.

    Raises:
        WeightsError: no such file.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; check the path given as weights")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def read_metadata(path: Path) -> dict[str, str]:
    """What a ``.safetensors`` file says of itself, without loading its tensors."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def encode_checkpoint(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a ``.safetensors`` file, the same for the same content.

    Departs: the safetensors library orders the metadata anew in every run, which would give equal weights
        different hashes; here they are sorted.
    """
    data = save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata=dict(metadata))
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def describe(tensors: Mapping[str, Tensor]) -> str:
    """What a weights file looks like, for messages about files that fit nothing: number, some names and shapes."""
    count = f"{len(tensors) or 'no'} tensor{'' if len(tensors) == 1 else 's'}"
    shown = [printable(f"{key} {tuple(tensor.shape)}") for key, tensor in itertools.islice(tensors.items(), 4)]
    if len(tensors) > len(shown):
        shown.append("…")
    return f"it holds {count}{': ' if shown else ''}{', '.join(shown)}"
