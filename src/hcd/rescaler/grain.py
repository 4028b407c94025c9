"""Extreme rescaling of faces: a picture of one fixed size, 16×16 pixels, and back."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from hcd.nets.grain import GRAIN
from hcd.rescaler.base import Rescaler


@final
class GrainRescaler(Rescaler):
    """Downscales with GRAIN's encoder, upscales with its decoder, codes, generator and fusion.

    Pictures are in [0, 1], as for every rescaler; the network's [−1, 1] stays inside.

    Args:
        net: the network; its size is the only one that pictures may have.
        name, weights_hash: as for :class:`Rescaler`.
    """

    def __init__(self, net: GRAIN, *, name: str, weights_hash: str = "") -> None:
        size = net.config.size
        super().__init__(name=name, scale=net.scale, weights_hash=weights_hash, hr_size=(size, size))
        self.net = net
        # Channels-last is the layout that convolutions run fastest in; the generator's weights have five dimensions.
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _downscale(self, hr: Tensor) -> Tensor:
        return _outside(self.net.downscale(_inside(hr)))

    def _upscale(self, lr: Tensor) -> Tensor:
        return _outside(self.net.upscale(_inside(lr)))


def _inside(image: Tensor) -> Tensor:
    return (2 * image - 1).contiguous(memory_format=torch.channels_last)


def _outside(image: Tensor) -> Tensor:
    return (image + 1) / 2
