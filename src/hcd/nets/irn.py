"""Invertible Rescaling Network (IRN): Haar transforms and affine couplings, both with exact inverses.

Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020 (arXiv 2005.05650). Names and shapes of
the state_dict are those of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from hcd.nets.cpu.coupling import FrozenCoupling, TwoBlocks
from hcd.nets.dense import DenseBlock
from hcd.nets.invertible import InvertibleNetwork, coupling_indices


class Coupling(nn.Module):
    """Enhanced affine coupling between the first 3 channels (the LR picture) and the rest (the details)."""

    def __init__(self, channels: int, lr_channels: int = 3) -> None:
        super().__init__()
        self.lr_channels = lr_channels
        self.F = DenseBlock(channels - lr_channels, lr_channels)
        self.G = DenseBlock(lr_channels, channels - lr_channels)
        self.H = DenseBlock(lr_channels, channels - lr_channels)

    def forward(self, x: Tensor) -> Tensor:
        frozen = self._frozen(x)
        if frozen is not None:
            return frozen.run(x)
        x1, x2 = x[:, : self.lr_channels], x[:, self.lr_channels :]
        y1 = x1 + self.F(x2)
        y2 = x2 * torch.exp(self._log_scale(y1)) + self.G(y1)
        return torch.cat([y1, y2], dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        frozen = self._frozen(y)
        if frozen is not None:
            return frozen.run_inverse(y)
        y1, y2 = y[:, : self.lr_channels], y[:, self.lr_channels :]
        x2 = (y2 - self.G(y1)) * torch.exp(-self._log_scale(y1))
        x1 = y1 - self.F(x2)
        return torch.cat([x1, x2], dim=1)

    def _frozen(self, x: Tensor) -> FrozenCoupling | None:
        f, g, h = (block.kernel_for(x) for block in (self.F, self.G, self.H))
        if f is None or g is None or h is None:
            return None
        return FrozenCoupling(f=f, scale_and_shift=TwoBlocks(scale=h, shift=g), lr_channels=self.lr_channels)

    def _log_scale(self, y1: Tensor) -> Tensor:
        # 2·sigmoid(h) − 1 = tanh(h / 2): the published soft clamp to (−1, 1).
        return torch.tanh(self.H(y1) / 2)


@final
class IRN(InvertibleNetwork):
    """The network of the publication.

    Args:
        blocks: couplings per level, e.g. ``(8, 8)`` for the published ×4 network; its length is log2(scale).
    """

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__(blocks, lambda level, channels: Coupling(channels))
        self.blocks = tuple(blocks)

    @staticmethod
    def blocks_of(state_dict: Mapping[str, Tensor]) -> tuple[int, ...]:
        """Read the couplings per level from the names in a state_dict; return ``()`` if it is not an IRN's."""
        return tuple(len(numbers) for numbers in coupling_indices(state_dict, "F.conv1.weight"))
