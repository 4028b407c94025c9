"""Invertible networks as rescalers: the forward pass gives LR and latent, the inverse takes LR and a fixed latent."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from hcd.nets import IRN, Light
from hcd.nets.cpu.convolution import fastest_layout
from hcd.rescaler.base import Rescaler
from hcd.rescaler.latent import LatentPolicy


@final
class InvertibleRescaler(Rescaler):
    """Downscales with an invertible network's forward pass, upscales with its inverse.

    Args:
        net: the network; its first three output channels are the LR picture, the others the latent.
        latent: the policy for the latent of the inverse pass.
        name, weights_hash: as for :class:`Rescaler`.
    """

    def __init__(self, net: IRN | Light, *, latent: LatentPolicy, name: str, weights_hash: str = "") -> None:
        super().__init__(name=name, scale=net.scale, weights_hash=weights_hash, latent=str(latent))
        # Convolutions run fastest in channels-last.
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._policy = latent

    def _downscale(self, hr: Tensor) -> Tensor:
        lr: Tensor = self.net(hr.contiguous(memory_format=fastest_layout(hr)))[:, :3]
        return lr

    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        latent = self._policy.latent(lr, 3 * self.scale**2 - 3, top=top, left=left)
        whole = torch.cat([lr, latent], dim=1).contiguous(memory_format=fastest_layout(lr))
        hr: Tensor = self.net.inverse(whole)
        return hr
