"""Official checkpoints ↔ this project's weights files, tensors untouched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hcd.errors import UsageError, WeightsError
from hcd.files import write_atomically
from hcd.rescaler import LatentPolicy
from hcd.zoo.checkpoints import Checkpoint, describe, encode_checkpoint, read_checkpoint
from hcd.zoo.families import FAMILIES, Family, Layout

_SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was converted.

    Attributes:
        family: name of the family.
        scale: HR side / LR side.
        settings: hyper-parameters, as read from the shapes.
        latent: latent policy that goes with the weights when they are loaded from the new file.
        dropped_latent: the policy that the old file recorded and the official format cannot; empty where none was.
        tensors: number of tensors.
        files: what was written.
    """

    family: str
    scale: int
    settings: Mapping[str, object]
    latent: str
    dropped_latent: str
    tensors: int
    files: tuple[Path, ...]


def convert(source: Path, target: Path, *, official: bool = False, latent: str | None = None) -> Conversion:
    """Convert a weights file, which is told by its tensors, not by its name.

    Values stay as they are in float32 (half precision is widened), so the way there and back ends where it
    began, and both files give the same pictures. They have different hashes: an LR file that one of them made
    asks for that one.

    Args:
        source: official checkpoint, folder of a GRAIN, or ``.safetensors`` file.
        target: the ``.safetensors`` file to write; with ``official`` a ``.pth`` file, or for GRAIN a folder.
        official: write what the authors' programs read.
        latent: policy to record, ``zeros`` or ``gaussian:SEED``; default: the one that the source records, else that
            of the family's official weights.

    Raises:
        WeightsError: the source cannot be read or fits no family; the message says what it looks like.
        UsageError: the target is not of the kind that is to be written, or the latent is not one of the family.
        OutputError: it cannot be written.
    """
    if not official and target.suffix != _SUFFIX:
        raise UsageError(f"{target}: weights are written as {_SUFFIX}; name it …{_SUFFIX}, or convert to official")
    checkpoint = FAMILIES["grain"].read(source) if source.is_dir() else read_checkpoint(source)
    family, layout = _recognize(checkpoint)
    names = family.check(checkpoint, layout)
    tensors = {name: checkpoint.tensors[name] for name in names}
    policy, dropped = family.latent(checkpoint, latent), ""
    if official:
        files = family.write_official(tensors, target)
        if policy != family.official_latent:
            policy, dropped = family.official_latent, str(policy)
    else:
        write_atomically(target, encode_checkpoint(tensors, _metadata(checkpoint, family, layout, policy)))
        files = [target]
    return Conversion(
        family=family.name,
        scale=layout.scale,
        settings=layout.settings,
        latent=str(policy),
        dropped_latent=dropped,
        tensors=len(tensors),
        files=tuple(files),
    )


def _recognize(checkpoint: Checkpoint) -> tuple[Family, Layout]:
    for family in FAMILIES.values():
        layout = family.layout(checkpoint.tensors)
        if layout is not None:
            return family, layout
    tried = ", ".join(family.title for family in FAMILIES.values())
    raise WeightsError(f"{checkpoint.path}: fits no known model (tried {tried}); {describe(checkpoint.tensors)}")


def _metadata(checkpoint: Checkpoint, family: Family, layout: Layout, latent: LatentPolicy) -> dict[str, str]:
    """What the new file says of itself; what the old one said of itself is kept."""
    return {
        "source": checkpoint.weights_hash,
        **checkpoint.metadata,
        "architecture": family.name,
        "scale": str(layout.scale),
        "network": json.dumps(layout.settings, separators=(",", ":")),
        "latent": str(latent),
    }
