"""The code encoder: maps the decoder's feature maps to one latent code per layer of the generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hcd.nets.grain.config import LR_SIDE, GRAINConfig
from hcd.nets.grain.rescaling import chain
from hcd.nets.grain.stylegan2 import Generator


class StyleBlock(nn.Module):
    """Maps a feature map to two codes, and to a map of half the side for the next smaller level.

    Args:
        config: hyper-parameters of the network.
        side: side of the feature map, at least 16. At 16 the map is not halved.
    """

    def __init__(self, config: GRAINConfig, side: int) -> None:
        super().__init__()
        width = config.channels
        self.halves = side > LR_SIDE
        if self.halves:
            self.conv_first = chain(width, width, stride=2)
            further = (side // LR_SIDE).bit_length() - 2
            self.convs = chain(*[width] * (further + 1), stride=2)
        branch = (width, width, 2 * width, 4 * width, 8 * width)
        self.convs1, self.convs2 = chain(*branch, stride=2), chain(*branch, stride=2)
        self.linear1, self.linear2 = (nn.Linear(branch[-1], config.style_dim) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``[N, channels, side, side]`` to two codes, each ``[N, style_dim]``, and the halved map."""
        halved = x
        if self.halves:
            halved = self.conv_first(x)
            x = self.convs(halved)
        return self.linear1(self.convs1(x).flatten(1)), self.linear2(self.convs2(x).flatten(1)), halved


class CodeEncoder(nn.Module):
    """Maps feature maps of all levels to codes ``[N, 2·log2(size) − 2, style_dim]``, relative to the average code."""

    def __init__(self, config: GRAINConfig) -> None:
        super().__init__()
        # Three blocks share the smallest level: the generator's layers at 4, 8 and 16.
        self.styles = nn.ModuleList(StyleBlock(config, max(side, LR_SIDE)) for side in config.resolutions)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        extra = len(self.styles) - len(features)
        codes: list[Tensor] = []
        x = features[-1]
        for i in reversed(range(len(self.styles))):
            first, second, halved = self.styles[i](x)
            codes = [second, first, *codes]
            if i > extra:
                x = features[i - 1 - extra] + halved
        return torch.stack(codes, dim=1)


class CodeStyleGAN(nn.Module):
    """Code encoder and StyleGAN2 generator, named as in official files."""

    def __init__(self, config: GRAINConfig) -> None:
        super().__init__()
        self.encoder = CodeEncoder(config)
        self.decoder = Generator(
            style_dim=config.style_dim, channels=config.generator_channels, mapping_layers=config.mapping_layers
        )
