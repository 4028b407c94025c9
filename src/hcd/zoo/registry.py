"""Model names and the rescalers they stand for."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch

from hcd.errors import ModelError, UsageError, WeightsError, unknown_name
from hcd.nets import IRN
from hcd.rescaler import BicubicRescaler, InvertibleRescaler, LatentPolicy, Rescaler
from hcd.zoo.checkpoints import Checkpoint, hash_file, read_checkpoint

_WEIGHTS_FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One name of the registry.

    Attributes:
        name: what ``load`` takes.
        architecture: ``irn`` or ``bicubic``.
        scale: HR side / LR side.
        default: for a name without weights of its own, the entry whose weights it loads by default.
    """

    name: str
    architecture: str
    scale: int
    default: str | None = None

    @property
    def weights_file(self) -> Path | None:
        """The shipped weights of this very name, if there are any."""
        path = _WEIGHTS_FOLDER / f"{self.name}.safetensors"
        return path if path.is_file() else None

    @property
    def card(self) -> Path | None:
        """The model card of the shipped weights, if there are any."""
        path = _WEIGHTS_FOLDER / f"{self.name}.md"
        return path if path.is_file() else None


_ENTRIES = {
    entry.name: entry
    for entry in (
        ModelEntry(name="irn-x2", architecture="irn", scale=2, default="irn-x2-small"),
        ModelEntry(name="irn-x4", architecture="irn", scale=4, default="irn-x4-small"),
        ModelEntry(name="irn-x8", architecture="irn", scale=8),
        ModelEntry(name="irn-x2-small", architecture="irn", scale=2),
        ModelEntry(name="irn-x4-small", architecture="irn", scale=4),
        ModelEntry(name="bicubic-x2", architecture="bicubic", scale=2),
        ModelEntry(name="bicubic-x4", architecture="bicubic", scale=4),
    )
}


def model_entries() -> list[ModelEntry]:
    """Every entry of the registry, in order of name."""
    return [_ENTRIES[name] for name in sorted(_ENTRIES)]


def get_entry(name: str) -> ModelEntry:
    """The entry of that name.

    Raises:
        ModelError: no such name; the message lists the known ones.
    """
    if name not in _ENTRIES:
        raise ModelError(unknown_name("model", name, sorted(_ENTRIES)))
    return _ENTRIES[name]


def pick_device(name: str) -> str:
    """``auto`` → ``cuda`` where there is one, else ``cpu``; other names are checked and returned.

    Raises:
        UsageError: PyTorch knows no such device, or it is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(f"device '{name}': not available here ({reason}); use auto or cpu") from error
    return name


def load(name: str, *, weights: str | Path | None = None, latent: str | None = None, device: str = "cpu") -> Rescaler:
    """A frozen rescaler, ready to use.

    Args:
        name: a model name, see ``model_entries``. A name whose own weights do not ship yet loads its
            stand-in, and the rescaler's ``name`` says so.
        weights: an official checkpoint or this project's ``.safetensors``; default: the shipped weights.
        latent: ``zeros`` or ``gaussian:SEED``; default: the policy of the weights (official IRN weights,
            which were trained with noise there: ``gaussian:0``).
        device: where the weights go, as PyTorch names it, or ``auto``.

    Raises:
        ModelError: unknown name, or no weights ship for it and none were given.
        WeightsError: the file cannot be read or does not fit the model.
        UsageError: unknown latent policy, weights for a model that has none, or no such device.
    """
    entry = get_entry(name)
    device = pick_device(device)
    if entry.architecture == "bicubic":
        if weights is not None:
            raise UsageError(f"{name}: has no weights; leave {weights} out")
        return BicubicRescaler(entry.scale).freeze().to(device)
    if weights is None:
        entry, weights = _shipped(entry)
    checkpoint = read_checkpoint(Path(weights))
    policy = _latent_of(checkpoint) if latent is None else LatentPolicy.parse(latent)
    net = _build_irn(checkpoint, entry)
    rescaler = InvertibleRescaler(net, latent=policy, name=entry.name, weights_hash=checkpoint.weights_hash)
    return rescaler.freeze().to(device)


@functools.cache
def shipped_hash(name: str) -> str:
    """Hash of the shipped weights that carry exactly this name; empty where there are none."""
    path = get_entry(name).weights_file
    return "" if path is None else hash_file(path)


def _shipped(entry: ModelEntry) -> tuple[ModelEntry, Path]:
    if entry.weights_file is None and entry.default is not None:
        entry = get_entry(entry.default)
    if entry.weights_file is None:
        raise ModelError(
            f"{entry.name}: no weights ship with this version; give a checkpoint file (hcd.load(..., weights=FILE), "
            "--weights FILE)"
        )
    return entry, entry.weights_file


def _latent_of(checkpoint: Checkpoint) -> LatentPolicy:
    try:
        return LatentPolicy.parse(checkpoint.metadata.get("latent", "gaussian:0"))
    except UsageError as error:
        raise WeightsError(f"{checkpoint.path}: {error}") from error


def _build_irn(checkpoint: Checkpoint, entry: ModelEntry) -> IRN:
    """An IRN whose depth is read from the weights and checked against the name's scale."""
    blocks = IRN.blocks_of(checkpoint.tensors)
    if not blocks:
        raise WeightsError(f"{checkpoint.path}: holds no IRN weights, which '{entry.name}' needs")
    if 2 ** len(blocks) != entry.scale:
        raise WeightsError(
            f"{checkpoint.path}: holds IRN weights of scale {2 ** len(blocks)}, '{entry.name}' needs {entry.scale}"
        )
    # Checked before it is built: a file's names may claim any depth.
    with torch.device("meta"):
        expected = IRN(blocks).state_dict()
    for key, tensor in expected.items():
        got = checkpoint.tensors.get(key)
        if got is None or got.shape != tensor.shape:
            found = "nothing" if got is None else f"shape {tuple(got.shape)}"
            raise WeightsError(
                f"{checkpoint.path}: {key}: found {found}, an IRN of blocks {blocks} needs {tuple(tensor.shape)}"
            )
    surplus = checkpoint.tensors.keys() - expected.keys()
    if surplus:
        raise WeightsError(f"{checkpoint.path}: {sorted(surplus)[0]}: not part of an IRN of blocks {blocks}")
    net = IRN(blocks)
    for key, tensor in net.named_buffers():
        if not checkpoint.tensors[key].equal(tensor):
            raise WeightsError(f"{checkpoint.path}: {key}: the filters are not those of the Haar transform")
    net.load_state_dict(dict(checkpoint.tensors))
    return net
