"""HCFlow as a rescaler: LR from its main flow, details predicted or sampled by its conditional flows."""

from __future__ import annotations

import functools
from typing import final

import torch
from torch import Tensor

from hcd.nets.hcflow import HCFlow
from hcd.ops import gaussian_field
from hcd.rescaler.base import Rescaler
from hcd.rescaler.latent import LatentPolicy

# 2**32 divided by the golden ratio: its multiples are far from every small seed.
_SEED_STRIDE = 0x9E3779B9


@final
class HCFlowRescaler(Rescaler):
    """Downscales with the main flow alone, upscales with the inverse of the whole network.

    Given the LR picture, the latent is unit Gaussian: ``zeros`` sets the details to the predicted means,
    ``gaussian:SEED`` samples them at temperature 1. Level i of the network, counted from 0, takes its noise from
    seed ``(SEED + i · 0x9E3779B9) mod 2**32``.

    Args:
        net: the network.
        latent: the policy for the latent of the inverse pass.
        name, weights_hash: as for :class:`Rescaler`.

    Departs: the official network clamps LR and HR to [0, 1]; here neither is clamped, as everywhere.
    """

    def __init__(self, net: HCFlow, *, latent: LatentPolicy, name: str, weights_hash: str = "") -> None:
        super().__init__(name=name, scale=net.scale, weights_hash=weights_hash, latent=str(latent))
        # Convolutions run fastest in channels-last.
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._policy = latent

    def _downscale(self, hr: Tensor) -> Tensor:
        lr: Tensor = self.net.downscale(hr.contiguous(memory_format=torch.channels_last))
        return lr

    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        hr: Tensor = self.net.inverse(lr.contiguous(memory_format=torch.channels_last), self._latents(lr, top, left))
        return hr

    def _latents(self, lr: Tensor, top: int, left: int) -> tuple[Tensor, ...] | None:
        if self._policy.seed is None:
            return None
        place = (*lr.shape[-2:], top, left)
        noise = _noise(self._policy.seed, self.net.shape.latent_channels, place, lr.device, lr.dtype)
        return tuple(field.expand(len(lr), -1, -1, -1) for field in noise)


@functools.lru_cache(maxsize=1)
def _noise(
    seed: int, channels: tuple[int, ...], place: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Return the noise of each level.

    It is cached, since every evaluation of a picture needs the same. It is made outside of inference mode, since
    gradients may need it.
    """
    fields = []
    with torch.inference_mode(False):
        for level, count in enumerate(channels):
            times = 1 << (len(channels) - 1 - level)
            level_seed = (seed + level * _SEED_STRIDE) % 2**32
            height, width, top, left = (length * times for length in place)
            field = gaussian_field(level_seed, count, height, width, top=top, left=left)[None]
            fields.append(field.to(device=device, dtype=dtype, memory_format=torch.channels_last))
    return tuple(fields)
