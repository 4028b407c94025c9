"""GRAIN weights: a folder of four official files, or one file of this project."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast, final

from torch import Tensor, nn

from hcd.errors import UsageError
from hcd.nets.grain import GRAIN, GRAINConfig
from hcd.rescaler import GrainRescaler, LatentPolicy, Rescaler
from hcd.zoo.checkpoints import Checkpoint, read_checkpoint
from hcd.zoo.families.base import Family, Layout
from hcd.zoo.grain_files import GRAIN_FILES, read_grain_folder, write_grain_folder


@final
class GRAINFamily(Family):
    """GRAIN checkpoints. There is no latent: the generator's noise is part of the weights."""

    name = "grain"
    title = "GRAIN"
    has_latent = False
    source = "https://github.com/cszzx/GRAIN"
    weights = f"a folder with {', '.join(GRAIN_FILES)}, or a .safetensors file made of it"

    def layout(self, tensors: Mapping[str, Tensor]) -> Layout | None:
        config = GRAINConfig.of(tensors)
        if config is None:
            return None
        return Layout(
            scale=config.scale,
            settings=asdict(config),
            text=f"a GRAIN of size {config.size}",
            build=functools.partial(GRAIN, config),
        )

    def rescaler(self, net: nn.Module, *, name: str, weights_hash: str, latent: LatentPolicy) -> Rescaler:
        return GrainRescaler(cast(GRAIN, net), name=name, weights_hash=weights_hash)

    def read(self, path: Path) -> Checkpoint:
        return read_grain_folder(path) if path.is_dir() else read_checkpoint(path)

    def write_official(self, tensors: Mapping[str, Tensor], path: Path) -> list[Path]:
        if path.suffix in (".pth", ".pt", ".safetensors") or path.is_file():
            raise UsageError(f"{path}: official GRAIN weights are a folder of {len(GRAIN_FILES)} files; name a folder")
        return write_grain_folder(tensors, path)
