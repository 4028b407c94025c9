"""Light rescaling networks, which this project trains itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from typing import cast, final

from torch import Tensor, nn

from hcd.nets import Light
from hcd.rescaler import InvertibleRescaler, LatentPolicy, Rescaler
from hcd.zoo.families.base import Family, Layout


@final
class LightFamily(Family):
    """Light networks. Weights are trained, and upscale, with a latent of zeros."""

    name = "light"
    title = "light network"
    source = "this project, see docs/training.md"

    def layout(self, tensors: Mapping[str, Tensor]) -> Layout | None:
        shape = Light.shape_of(tensors)
        if shape is None:
            return None
        return Layout(
            scale=shape.scale,
            settings=asdict(shape),
            text=f"a light network of blocks {shape.blocks} and widths {shape.widths}",
            build=functools.partial(Light, shape),
        )

    def rescaler(self, net: nn.Module, *, name: str, weights_hash: str, latent: LatentPolicy) -> Rescaler:
        return InvertibleRescaler(cast(Light, net), latent=latent, name=name, weights_hash=weights_hash)
