"""RLFN checkpoints, used as upscalers of fixed-kernel rescalers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from typing import cast, final

import torch
from torch import Tensor, nn

from hcd.nets import RLFN
from hcd.rescaler import FixedKernelRescaler, LatentPolicy, Rescaler, SizeRequirement
from hcd.zoo.families.base import Family, Layout


@final
class RLFNFamily(Family):
    """RLFN checkpoints: bicubic downscaling, RLFN upscaling. There is no latent."""

    name = "rlfn"
    title = "RLFN"
    has_latent = False
    source = "https://github.com/bytedance/RLFN"

    def layout(self, tensors: Mapping[str, Tensor]) -> Layout | None:
        shape = RLFN.shape_of(tensors)
        if shape is None:
            return None
        return Layout(
            scale=shape.scale,
            settings=asdict(shape),
            text=f"an RLFN of {shape.blocks} blocks at ×{shape.scale}",
            build=functools.partial(RLFN, shape),
        )

    def rescaler(self, net: nn.Module, *, name: str, weights_hash: str, latent: LatentPolicy) -> Rescaler:
        # Convolutions run fastest in channels-last.
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return FixedKernelRescaler(
            net,
            cast(RLFN, net).scale,
            name=name,
            weights_hash=weights_hash,
            white=255.0,
            size=SizeRequirement(minimum=RLFN.smallest),
        )
