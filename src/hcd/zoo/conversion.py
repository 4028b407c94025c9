"""Convert official checkpoints to this project's weights files and back, without changing tensors."""

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
    """The result of a conversion.

    Attributes:
        family: name of the family.
        scale: HR side / LR side.
        settings: hyper-parameters, read from the shapes.
        latent: the latent policy of weights loaded from the new file.
        dropped_latent: the policy of the old file that the official format cannot record; else empty.
        tensors: number of tensors.
        files: the files written.
    """

    family: str
    scale: int
    settings: Mapping[str, object]
    latent: str
    dropped_latent: str
    tensors: int
    files: tuple[Path, ...]


def convert(source: Path, target: Path, *, official: bool = False, latent: str | None = None) -> Conversion:
    """Convert a weights file, whose family is recognized by its tensors, not by its name.

    Values stay the same in float32 (half precision is widened): a round trip restores the file, and both files give the
    same pictures. Their hashes differ, so an LR file can only be rebuilt with the weights file that made it.

    Args:
        source: official checkpoint, folder of a GRAIN, or ``.safetensors`` file.
        target: the ``.safetensors`` file to write; with ``official`` a ``.pth`` file, or for GRAIN a folder.
        official: write the format of the authors' programs.
        latent: policy to record, ``zeros`` or ``gaussian:SEED``; default: the policy of the source, else of the
            family's official weights.

    Raises:
        WeightsError: the source cannot be read or belongs to no family; the message describes it.
        UsageError: the target has the wrong suffix, or the family does not have this latent.
        OutputError: the target cannot be written.
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
    """Return the metadata of the new file, which includes that of the old one."""
    return {
        "source": checkpoint.weights_hash,
        **checkpoint.metadata,
        "architecture": family.name,
        "scale": str(layout.scale),
        "network": json.dumps(layout.settings, separators=(",", ":")),
        "latent": str(latent),
    }
