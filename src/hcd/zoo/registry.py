"""Registry of model names, and ``load``."""

from __future__ import annotations

import functools
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from hcd.errors import ModelError, UsageError, WeightsError, unknown_name
from hcd.rescaler import BicubicRescaler, Rescaler
from hcd.zoo.checkpoints import hash_file
from hcd.zoo.families import FAMILIES, Family
from hcd.zoo.grain_files import hash_grain_folder
from hcd.zoo.plugins import is_plugin, load_plugin, plugins
from hcd.zoo.upscalers import SPANDREL, load_upscaler

# The distribution of the weights that are too large for this one.
_WEIGHTS_PACKAGE = "hcd-weights"


def _weights_folders() -> tuple[Path, ...]:
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE.replace("-", "_"))
    large = [] if spec is None else spec.submodule_search_locations or []
    return (Path(__file__).parent / "weights", *map(Path, large))


_WEIGHTS_FOLDERS = _weights_folders()


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """Model of the registry.

    Attributes:
        name: its name for ``load``.
        architecture: name of its family in ``FAMILIES``, or ``bicubic``.
        scale: HR side / LR side.
        apart: True if its weights ship in the separate package ``hcd-weights``.
    """

    name: str
    architecture: str
    scale: int
    apart: bool = False

    @property
    def family(self) -> Family | None:
        """Family that reads its weights and builds its network; None for models without weights."""
        return FAMILIES.get(self.architecture)

    @property
    def weights_file(self) -> Path | None:
        """Shipped weights of exactly this name, if any."""
        return self._shipped_file("safetensors")

    @property
    def card(self) -> Path | None:
        """Model card of the shipped weights, if any."""
        return self._shipped_file("md")

    @property
    def metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """Mean metrics of the shipped weights by data set and preset, as ``hcd evaluate`` reports them; or empty."""
        path = self._shipped_file("figures.json")
        return {} if path is None else json.loads(path.read_text("utf-8"))

    @property
    def missing(self) -> str | None:
        """Message that says what to install if its weights are missing; None if nothing is missing."""
        if not self.apart or self.weights_file is not None:
            return None
        return f"its weights are in the package {_WEIGHTS_PACKAGE}, which is not installed; pip install 'hcd[weights]'"

    def _shipped_file(self, suffix: str) -> Path | None:
        candidates = (folder / f"{self.name}.{suffix}" for folder in _WEIGHTS_FOLDERS)
        return next(filter(Path.is_file, candidates), None)


_ENTRIES = {
    entry.name: entry
    for entry in (
        ModelEntry(name="irn-x2", architecture="irn", scale=2, apart=True),
        ModelEntry(name="irn-x4", architecture="irn", scale=4, apart=True),
        ModelEntry(name="irn-x8", architecture="irn", scale=8, apart=True),
        ModelEntry(name="irn-x2-small", architecture="irn", scale=2, apart=True),
        ModelEntry(name="irn-x4-small", architecture="irn", scale=4),
        ModelEntry(name="light-x2", architecture="light", scale=2),
        ModelEntry(name="light-x4", architecture="light", scale=4),
        ModelEntry(name="hcflow-x4", architecture="hcflow", scale=4, apart=True),
        # A GRAIN has an LR picture of 16×16 pixels: these are for faces of 256², 512² and 1024² pixels.
        ModelEntry(name="grain-x16", architecture="grain", scale=16),
        ModelEntry(name="grain-x32", architecture="grain", scale=32),
        ModelEntry(name="grain-x64", architecture="grain", scale=64),
        ModelEntry(name="bicubic-rlfn-x2", architecture="rlfn", scale=2),
        ModelEntry(name="bicubic-rlfn-x4", architecture="rlfn", scale=4),
        ModelEntry(name="bicubic-x2", architecture="bicubic", scale=2),
        ModelEntry(name="bicubic-x4", architecture="bicubic", scale=4),
    )
}


def model_entries() -> list[ModelEntry]:
    """Return every entry of the registry, sorted by name; see ``plugins`` for plug-ins."""
    return [_ENTRIES[name] for name in sorted(_ENTRIES)]


def get_entry(name: str) -> ModelEntry:
    """Return the entry of this name.

    Raises:
        ModelError: the name is unknown; the message lists the known ones.
    """
    if name not in _ENTRIES:
        raise ModelError(unknown_name("model", name, [*sorted(_ENTRIES), *(plugin.name for plugin in plugins())]))
    return _ENTRIES[name]


def pick_device(name: str) -> str:
    """Return ``cuda`` for ``auto`` if there is one, else ``cpu``; check other names and return them.

    Raises:
        UsageError: PyTorch does not know the device, or it is not available.
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
    """Load a rescaler in evaluation mode, with frozen weights.

    Args:
        name: a model name, see ``model_entries``; a plug-in of an installed package (entry points
            ``hcd.rescalers``); or ``spandrel:FILE``, a super-resolution model that the spandrel library loads.
        weights: an official checkpoint or this project's ``.safetensors``; for GRAIN the folder of the official files.
            Default: the shipped weights.
        latent: ``zeros`` or ``gaussian:SEED``. Default: the policy of the weights; ``gaussian:0`` for official IRN
            weights, which were trained with noise.
        device: PyTorch's name of a device, or ``auto``.

    Raises:
        ModelError: the name is unknown, its weights are not installed, none were given for a model that ships without,
            or a plug-in fails to load.
        WeightsError: the file cannot be read or does not fit the model.
        UsageError: the latent policy is unknown, weights or a latent were given for a model that has none, or there is
            no such device.
        MissingDependencyError: the name needs an extra that is not installed.
    """
    if name.startswith(SPANDREL) or (name not in _ENTRIES and is_plugin(name)):
        return _load_complete(name, weights, latent).freeze().to(pick_device(device))
    entry = get_entry(name)
    device = pick_device(device)
    family = entry.family
    if family is None:
        if weights is not None:
            raise UsageError(f"{name}: has no weights; leave {weights} out")
        return BicubicRescaler(entry.scale).freeze().to(device)
    if weights is None:
        weights = _shipped(entry, family)
    checkpoint = family.read(Path(weights))
    policy = family.latent(checkpoint, latent)
    layout = family.layout(checkpoint.tensors)
    if layout is None:
        raise WeightsError(f"{checkpoint.path}: holds no {family.title} weights, which '{entry.name}' needs")
    if layout.scale != entry.scale:
        raise WeightsError(
            f"{checkpoint.path}: holds {family.title} weights of scale {layout.scale}, '{entry.name}' needs "
            f"{entry.scale}"
        )
    net = family.build(checkpoint, layout)
    rescaler = family.rescaler(net, name=entry.name, weights_hash=checkpoint.weights_hash, latent=policy)
    return rescaler.freeze().to(device)


def hash_weights(path: Path) -> str:
    """Return the hash by which LR files name weights: of one file, or of the files of a GRAIN folder.

    Raises:
        WeightsError: the file, or a file of the GRAIN folder, is missing.
    """
    return hash_grain_folder(path) if path.is_dir() else hash_file(path)


def shipped_hash(name: str) -> str:
    """Return the hash of the shipped weights of exactly this name; empty if there are none."""
    path = get_entry(name).weights_file
    return "" if path is None else _hash_once(path)


_hash_once = functools.cache(hash_file)


def _load_complete(name: str, weights: str | Path | None, latent: str | None) -> Rescaler:
    """Load a model that brings its own weights and latent: a plug-in, or a file that spandrel loads."""
    if weights is not None:
        raise UsageError(f"{name}: brings its own weights; leave {weights} out")
    model = load_upscaler(Path(name.removeprefix(SPANDREL))) if name.startswith(SPANDREL) else load_plugin(name)
    if latent not in (None, model.latent):
        raise UsageError(f"{name}: got latent '{latent}', has only '{model.latent}'; leave it out")
    return model


def _shipped(entry: ModelEntry, family: Family) -> Path:
    if entry.missing:
        raise ModelError(f"{entry.name}: {entry.missing}")
    if entry.weights_file is None:
        raise ModelError(
            f"{entry.name}: no weights ship with this version; give {family.weights} (hcd.load(..., weights=FILE), "
            f"--weights FILE); official ones: {family.source}"
        )
    return entry.weights_file
