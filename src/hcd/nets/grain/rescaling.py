"""Encoder to 16×16, and decoder with a feature map per level up to the HR size."""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.nets.dense import RRDB
from hcd.nets.grain.config import GRAINConfig
from hcd.nets.grain.recompute import recomputed

_SLOPE = 0.2
# Gain of layers that are initialized close to zero (mid gray) or to the identity.
_SMALL = 0.1
# RRDBs per level; larger levels have one RRDB of a single dense block of four convolutions.
_BLOCKS = {16: 3, 32: 3, 64: 3, 128: 2, 256: 1}


def conv(in_channels: int, out_channels: int, *, stride: int = 1, gain: float = 1.0) -> nn.Conv2d:
    """Make a 3×3 convolution with padding 1, initialized to multiply the standard deviation by about ``gain``."""
    layer = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
    with torch.no_grad():
        layer.weight.mul_(gain)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def activation() -> nn.LeakyReLU:
    """Make a leaky ReLU; in place, since its gradient then needs the tensor that the next layer saves anyway."""
    return nn.LeakyReLU(_SLOPE, inplace=True)


def chain(*widths: int, stride: int = 1, picture: bool = False) -> nn.Sequential:
    """Chain convolutions from width to width, each followed by the activation.

    Args:
        widths: channels before the first convolution, then after each.
        stride: stride of every convolution.
        picture: the result is a picture: the last convolution has no activation and is initialized near mid gray.
    """
    layers: list[nn.Module] = []
    for in_channels, out_channels in itertools.pairwise(widths[:-1] if picture else widths):
        layers += [conv(in_channels, out_channels, stride=stride), activation()]
    if picture:
        layers.append(conv(*widths[-2:], gain=_SMALL))
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """Maps HR ``[N, 3, size, size]`` in [−1, 1] to LR ``[N, 3, 16, 16]``."""

    def __init__(self, config: GRAINConfig) -> None:
        super().__init__()
        width = config.channels
        self.conv_first = conv(3, width)
        halvings = len(config.levels) - 1
        self.body = nn.Sequential(*(chain(width, width, stride=2) for _ in range(halvings)))
        self.RRDB_trunk = nn.Sequential(*(RRDB(width, growth=config.growth) for _ in range(config.trunk_blocks)))
        self.trunk_conv = conv(width, width, gain=_SMALL)
        self.out = chain(width, width, 3, picture=True)

    def forward(self, hr: Tensor) -> Tensor:
        x = self.body(self.conv_first(hr))
        lr: Tensor = self.out(x + self.trunk_conv(self.RRDB_trunk(x)))
        return lr


class Decoder(nn.Module):
    """Maps LR ``[N, 3, 16, 16]`` to one feature map ``[N, channels, side, side]`` per level, and to a picture."""

    def __init__(self, config: GRAINConfig) -> None:
        super().__init__()
        width = config.channels
        self.levels = config.levels
        self.conv_first = conv(3, width)
        for side in self.levels:
            if side in _BLOCKS:
                blocks = [RRDB(width, growth=config.growth) for _ in range(_BLOCKS[side])]
            else:
                blocks = [RRDB(width, growth=config.growth, blocks=1, convs=4)]
            self.add_module(f"RRDB_trunk{side}", nn.Sequential(*blocks))
            self.add_module(f"trunk_conv{side}", conv(width, width, gain=_SMALL))
        self.out = chain(width, width, width // 2, 3, picture=True)

    def features(self, lr: Tensor) -> list[Tensor]:
        """Return the feature maps of all levels, smallest first."""
        found: list[Tensor] = []
        x: Tensor = self.conv_first(lr)
        for side in self.levels:
            if found:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = recomputed(functools.partial(self._level, side), x)
            found.append(x)
        return found

    def _level(self, side: int, x: Tensor) -> Tensor:
        trunk, last = self.get_submodule(f"RRDB_trunk{side}"), self.get_submodule(f"trunk_conv{side}")
        result: Tensor = x + last(trunk(x))
        return result

    def forward(self, lr: Tensor) -> Tensor:
        """Return the decoder's own HR picture, used in training only; the fusion takes the feature maps."""
        hr: Tensor = self.out(self.features(lr)[-1])
        return hr


class InvertibleRRDB(nn.Module):
    """Encoder and decoder, named as in official files."""

    def __init__(self, config: GRAINConfig) -> None:
        super().__init__()
        self.enc = Encoder(config)
        self.dec = Decoder(config)
