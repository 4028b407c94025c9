"""Fusion: maps the three largest feature maps of decoder and generator to HR."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.nets.grain.config import GRAINConfig
from hcd.nets.grain.recompute import recomputed
from hcd.nets.grain.rescaling import chain

_REDUCTION = 16


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: weights every channel by a function of all channels' means.

    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // _REDUCTION)
        self.fc1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.fc2 = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(means))))


class Fusion(nn.Module):
    """Maps three pairs of feature maps, at a quarter, half and full HR side, to ``[N, 3, size, size]``."""

    def __init__(self, config: GRAINConfig) -> None:
        super().__init__()
        quarter, half, full = config.fusion_channels
        given = [config.channels + width for width in config.generator_channels[-3:]]
        self.se1, self.conv1 = SqueezeExcite(given[0]), chain(given[0], quarter, quarter)
        self.se2, self.conv2 = SqueezeExcite(given[1]), chain(given[1], half, half)
        self.se3, self.conv3 = SqueezeExcite(given[2]), chain(given[2], full, full)
        joined = quarter + half + full
        self.se4 = SqueezeExcite(joined)
        self.out = chain(joined, quarter, quarter, half, half, 3, picture=True)

    def forward(self, features: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
        """Fuse the last three feature maps of the decoder with those of the generator."""
        branches = ((self.se1, self.conv1), (self.se2, self.conv2), (self.se3, self.conv3))
        maps = [
            recomputed(functools.partial(_branch, excite, convs), decoded, prior)
            for (excite, convs), decoded, prior in zip(branches, features[-3:], generated[-3:], strict=True)
        ]
        return recomputed(self._join, *maps)

    def _join(self, quarter: Tensor, half: Tensor, full: Tensor) -> Tensor:
        enlarged = [F.interpolate(quarter, scale_factor=4.0), F.interpolate(half, scale_factor=2.0), full]
        hr: Tensor = self.out(self.se4(torch.cat(enlarged, dim=1)))
        return hr


def _branch(excite: nn.Module, convs: nn.Module, decoded: Tensor, generated: Tensor) -> Tensor:
    result: Tensor = convs(excite(torch.cat([decoded, generated], dim=1)))
    return result
