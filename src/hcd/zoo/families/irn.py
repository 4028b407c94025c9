"""IRN checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import cast, final

from torch import Tensor, nn

from hcd.nets import IRN
from hcd.rescaler import InvertibleRescaler, LatentPolicy, Rescaler
from hcd.zoo.families.base import Family, Layout


@final
class IRNFamily(Family):
    """IRN checkpoints. Official weights were trained with noise as latent, and upscale with noise of seed 0."""

    name = "irn"
    title = "IRN"
    official_latent = LatentPolicy(0)
    source = "https://github.com/pkuxmq/Invertible-Image-Rescaling"

    def layout(self, tensors: Mapping[str, Tensor]) -> Layout | None:
        blocks = IRN.blocks_of(tensors)
        if not blocks:
            return None
        return Layout(
            scale=2 ** len(blocks),
            settings={"blocks": list(blocks)},
            text=f"an IRN of blocks {blocks}",
            build=functools.partial(IRN, blocks),
        )

    def rescaler(self, net: nn.Module, *, name: str, weights_hash: str, latent: LatentPolicy) -> Rescaler:
        return InvertibleRescaler(cast(IRN, net), latent=latent, name=name, weights_hash=weights_hash)
