"""HCFlow checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from typing import cast, final

from torch import Tensor, nn

from hcd.nets import HCFlow
from hcd.rescaler import HCFlowRescaler, LatentPolicy, Rescaler
from hcd.zoo.families.base import Family, Layout


@final
class HCFlowFamily(Family):
    """HCFlow checkpoints. Official weights upscale with the mean of the prior, a latent of zeros."""

    name = "hcflow"
    title = "HCFlow"
    source = "https://github.com/JingyunLiang/HCFlow"

    def layout(self, tensors: Mapping[str, Tensor]) -> Layout | None:
        shape = HCFlow.shape_of(tensors)
        if shape is None:
            return None
        return Layout(
            scale=shape.scale,
            settings=asdict(shape),
            text=f"an HCFlow of steps {shape.steps} and {shape.conditional_steps}",
            build=functools.partial(HCFlow, shape),
        )

    def rescaler(self, net: nn.Module, *, name: str, weights_hash: str, latent: LatentPolicy) -> Rescaler:
        return HCFlowRescaler(cast(HCFlow, net), latent=latent, name=name, weights_hash=weights_hash)
