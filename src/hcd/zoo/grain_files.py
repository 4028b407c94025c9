"""Read and write GRAIN's official weights: a folder of four files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hcd.errors import WeightsError
from hcd.files import write_atomically
from hcd.nets.grain import GRAIN, GRAINConfig
from hcd.zoo.checkpoints import Checkpoint, read_content

_GENERATOR = "stylegan2-ffhq-config-f.pt"
# For each file, the prefix of its names here, and the number that the authors give it.
_PARTS = {
    "invRRDB_model.pt": ("invRRDB.", 1),
    "codeStyleGAN_model.pt": ("codeStyleGAN.", 2),
    "Fusion_model.pt": ("Fusion.", 3),
}
_GENERATOR_PREFIX = "codeStyleGAN.decoder."
_AVERAGE = "latent_avg"

GRAIN_FILES = (*_PARTS, _GENERATOR)
"""Names of the four files in a folder."""


def read_grain_folder(folder: Path) -> Checkpoint:
    """Read the official files of a folder into one state_dict of :class:`hcd.nets.grain.GRAIN`.

    As in the official program, the generator and the average code come from the StyleGAN2 file, and the generator in
    codeStyleGAN_model.pt is ignored. Names may begin with ``module.``, values may be half precision, and state_dicts
    may be bare or of the fine-tuning stage (``state_dict1`` to ``state_dict3``).

    Returns:
        Float32 tensors with the names and shapes of GRAIN's state_dict; ``path`` is the folder, ``weights_hash`` is
        :func:`hash_grain_folder`.

    Raises:
        WeightsError: a file is missing, cannot be read, or contains anything but its part of a GRAIN.
    """
    weights_hash = hash_grain_folder(folder)
    tensors: dict[str, Tensor] = {}
    origin: dict[str, Path] = {}
    for path, prefix, named in _read_parts(folder):
        for key, tensor in named.items():
            tensors[prefix + key] = tensor
            origin[prefix + key] = path
    config = GRAINConfig.of(tensors)
    if config is None:
        raise WeightsError(f"{folder}: the files hold no GRAIN weights; give a folder with the official ones")
    with torch.device("meta"):
        expected = GRAIN(config).state_dict()
    for key, tensor in expected.items():
        path = folder / _file_of(key)
        if key not in tensors:
            raise WeightsError(f"{path}: {_inner(key)}: missing; a GRAIN of size {config.size} needs it")
        if tensors[key].shape != tensor.shape:
            raise WeightsError(
                f"{path}: {_inner(key)}: shape {tuple(tensors[key].shape)}, a GRAIN of size {config.size} needs "
                f"{tuple(tensor.shape)}"
            )
    surplus = tensors.keys() - expected.keys()
    if surplus:
        key = min(surplus)
        raise WeightsError(f"{origin[key]}: {_inner(key)}: not part of a GRAIN of size {config.size}")
    return Checkpoint(path=folder, tensors=tensors, weights_hash=weights_hash)


def hash_grain_folder(folder: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the four files, one after the other.

    Raises:
        WeightsError: files are missing; the message names all of them.
    """
    missing = [name for name in GRAIN_FILES if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            f"{folder}: lacks {', '.join(missing)}; GRAIN needs a folder with the files {', '.join(GRAIN_FILES)}"
        )
    digest = hashlib.sha256()
    for name in GRAIN_FILES:
        with (folder / name).open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()[:16]


def write_grain_folder(tensors: Mapping[str, Tensor], folder: Path) -> list[Path]:
    """Write a state_dict of :class:`hcd.nets.grain.GRAIN` as the four official files; create the folder.

    Returns:
        The files, in the order of :data:`GRAIN_FILES`.

    Raises:
        WeightsError: the tensors are not those of a GRAIN.
        OutputError: a file cannot be written.
    """
    config = GRAINConfig.of(tensors)
    if config is None:
        raise WeightsError(f"{folder}: not written; the weights are not a GRAIN's")
    # The official loaders need "opts", but nothing in it that concerns the weights.
    contents: dict[str, dict[str, Any]] = {
        name: {"state_dict": _under(tensors, prefix), "opts": {"output_size": config.size}}
        for name, (prefix, _) in _PARTS.items()
    }
    contents[_GENERATOR] = {"g_ema": _under(tensors, _GENERATOR_PREFIX), _AVERAGE: tensors[_AVERAGE]}
    for name, content in contents.items():
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(folder / name, buffer.getvalue())
    return [folder / name for name in GRAIN_FILES]


def _read_parts(folder: Path) -> list[tuple[Path, str, dict[str, Tensor]]]:
    """Return file, prefix and named tensors of each part; later parts override earlier ones."""
    parts = []
    for name, (prefix, number) in _PARTS.items():
        path = folder / name
        named = _named_tensors(path, _state_dict(path, _load(path), number))
        if name == "codeStyleGAN_model.pt":
            named = {key: tensor for key, tensor in named.items() if not key.startswith("decoder.")}
        parts.append((path, prefix, named))
    path = folder / _GENERATOR
    content = _load(path)
    if not isinstance(content.get("g_ema"), dict) or not isinstance(content.get(_AVERAGE), Tensor):
        raise WeightsError(
            f"{path}: holds no 'g_ema' with 'latent_avg'; give the StyleGAN2 file that GRAIN starts from"
        )
    parts.append((path, _GENERATOR_PREFIX, _named_tensors(path, content["g_ema"])))
    # Some copies store it as one row.
    average = content[_AVERAGE].squeeze(0) if content[_AVERAGE].ndim == 2 else content[_AVERAGE]
    parts.append((path, "", _named_tensors(path, {_AVERAGE: average})))
    return parts


def _load(path: Path) -> dict[str, Any]:
    content, _ = read_content(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, needs a dictionary of tensors")
    return content


def _state_dict(path: Path, content: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the named tensors of a file: under ``state_dict``, under the file's number, or at the top."""
    for key in ("state_dict", f"state_dict{number}"):
        if key in content:
            if not isinstance(content[key], dict):
                raise WeightsError(f"{path}: its '{key}' is not a dictionary of tensors; give an official file")
            inner: dict[str, Any] = content[key]
            return inner
    return content


def _named_tensors(path: Path, named: dict[str, Any]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for key, tensor in named.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"{path}: {key!r}: is not a tensor; give an official file")
        if tensor.layout != torch.strided or not tensor.is_floating_point() or not tensor.isfinite().all():
            raise WeightsError(f"{path}: {key}: holds values other than finite floating point numbers")
        tensors[key.removeprefix("module.")] = tensor.float()
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors; give an official file")
    return tensors


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _file_of(key: str) -> str:
    if key == _AVERAGE or key.startswith(_GENERATOR_PREFIX):
        return _GENERATOR
    return next(name for name, (prefix, _) in _PARTS.items() if key.startswith(prefix))


def _inner(key: str) -> str:
    """Return the name of a tensor inside its file."""
    if key.startswith(_GENERATOR_PREFIX):
        return key.removeprefix(_GENERATOR_PREFIX)
    return key if key == _AVERAGE else key.split(".", 1)[1]
