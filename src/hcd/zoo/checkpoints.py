"""Read weights files as data: this project's safetensors and official pickled state_dicts; nothing is executed."""

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
    """Content of a weights file.

    Attributes:
        path: the file.
        tensors: float32 tensors on the CPU, by name.
        metadata: metadata of this project's files; empty for official files.
        weights_hash: first 16 hexadecimal digits of the SHA-256 of the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    weights_hash: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read ``.safetensors`` or an official ``.pth``; half-precision tensors are widened to float32.

    Raises:
        WeightsError: the file is missing, cannot be read, or contains anything but tensors.
    """
    tensors, metadata = read_content(path)
    if not isinstance(tensors, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in tensors.items()
    ):
        raise WeightsError(f"{path}: holds values other than named tensors; give a bare state_dict")
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or not tensor.is_floating_point() or not tensor.isfinite().all():
            raise WeightsError(f"{path}: {key}: holds values other than finite floating point numbers")
    named = {key.removeprefix("module."): tensor.float() for key, tensor in tensors.items()}
    return Checkpoint(path=path, tensors=named, metadata=metadata, weights_hash=hash_file(path))


def read_content(path: Path) -> tuple[Any, dict[str, str]]:
    """Return the content of a ``.safetensors`` file or of a pickle without code, on the CPU, and the metadata.

    Raises:
        WeightsError: the file is missing or damaged, or a pickle needs more than tensors and standard containers.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; check the path given as weights")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
        with warnings.catch_warnings():
            # Official files cause warnings about pickle protocols and storages; their tensors are checked later.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True), {}
    except Exception as error:  # a damaged pickle may raise anything
        if isinstance(error, pickle.UnpicklingError):
            # PyTorch's own message advises to execute the file.
            reason = "it is damaged, or a pickle of more than tensors"
        else:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); give a .safetensors or .pth file") from error


def hash_file(path: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a weights file.

    Raises:
        WeightsError: the file is missing.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; check the path given as weights")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a ``.safetensors`` file without loading its tensors."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def encode_checkpoint(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a ``.safetensors`` file; equal content gives equal bytes.

    Departs: the order of the safetensors library's metadata differs between runs, which would give equal weights
        different hashes; here it is sorted.
    """
    data = save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata=dict(metadata))
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def describe(tensors: Mapping[str, Tensor]) -> str:
    """Describe tensors for messages about unrecognized files: their number, some names and shapes."""
    count = f"{len(tensors) or 'no'} tensor{'' if len(tensors) == 1 else 's'}"
    shown = [printable(f"{key} {tuple(tensor.shape)}") for key, tensor in itertools.islice(tensors.items(), 4)]
    if len(tensors) > len(shown):
        shown.append("…")
    return f"it holds {count}{': ' if shown else ''}{', '.join(shown)}"
