"""Latent policies: zeros or seeded noise for the latent of an inverse pass."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.ops import gaussian_field

_POLICY = re.compile(r"zeros|gaussian:(\d{1,10})", re.ASCII)


@dataclass(frozen=True)
class LatentPolicy:
    """A deterministic latent: all zeros, or unit Gaussian noise of a fixed seed (see ``hcd.ops.noise``).

    Args:
        seed: seed of the noise, 0 ≤ seed < 2**32; None for zeros.
    """

    seed: int | None = None

    @classmethod
    def parse(cls, text: str) -> LatentPolicy:
        """Read ``zeros`` or ``gaussian:SEED``.

        Raises:
            UsageError: the text is neither of these.

        >>> str(LatentPolicy.parse("gaussian:7"))
        'gaussian:7'
        """
        match = _POLICY.fullmatch(text)
        if match is None or int(match[1] or 0) >= 2**32:
            raise UsageError(f"latent policy {text!r}: use zeros or gaussian:SEED with 0 ≤ SEED < 2**32")
        return cls(None if match[1] is None else int(match[1]))

    def __str__(self) -> str:
        return "zeros" if self.seed is None else f"gaussian:{self.seed}"

    def latent(self, like: Tensor, channels: int, *, top: int = 0, left: int = 0) -> Tensor:
        """Make the latent of an LR picture or of one of its tiles.

        Args:
            like: the tile, ``[N, _, h, w]``, whose size, device and type are used.
            channels: channels of the latent.
            top, left: position of the tile in the whole picture.

        Returns:
            ``[N, channels, h, w]``, the same for each of the N.
        """
        count, _, height, width = like.shape
        if self.seed is None:
            return like.new_zeros((count, channels, height, width))
        noise = _noise(self.seed, channels, height, width, top, left, like.device, like.dtype)
        return torch.broadcast_to(noise, (count, channels, height, width))


@functools.lru_cache(maxsize=1)
def _noise(
    seed: int, channels: int, height: int, width: int, top: int, left: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return the noise.

    It is cached, since every evaluation of a picture needs the same. It is made outside of inference mode, since
    gradients may need it.
    """
    with torch.inference_mode(False):
        return gaussian_field(seed, channels, height, width, top=top, left=left).to(device=device, dtype=dtype)
