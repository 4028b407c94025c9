"""Extreme rescaling of faces: GRAIN, from one fixed HR size to 16×16 pixels and back."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from hcd.nets.grain import GRAIN
from hcd.rescaler.base import Rescaler


@final
class GrainRescaler(Rescaler):
    """Downscales with GRAIN's encoder, upscales with its decoder, codes, generator and fusion.

    Pictures are in [0, 1], as for every rescaler; only the network itself works in [−1, 1].

    Args:
        net: the network; pictures must have its size.
        name, weights_hash: as for :class:`Rescaler`.
    """

    def __init__(self, net: GRAIN, *, name: str, weights_hash: str = "") -> None:
        size = net.config.size
        super().__init__(name=name, scale=net.scale, weights_hash=weights_hash, hr_size=(size, size))
        self.net = net
        # Convolutions run fastest in channels-last; the generator's weights have five dimensions and stay as they are.
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _downscale(self, hr: Tensor) -> Tensor:
        return _from_net_range(self.net.downscale(_to_net_range(hr)))

    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        return _from_net_range(self.net.upscale(_to_net_range(lr)))


def _to_net_range(image: Tensor) -> Tensor:
    return (2 * image - 1).contiguous(memory_format=torch.channels_last)


def _from_net_range(image: Tensor) -> Tensor:
    return (image + 1) / 2
