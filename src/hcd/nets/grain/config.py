"""Hyper-parameters of GRAIN, which can be read from the shapes in a state_dict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from hcd.errors import UsageError

LR_SIDE = 16
"""Side of the LR picture for every HR size."""
_SIZES = (64, 128, 256, 512, 1024)


@dataclass(frozen=True, kw_only=True)
class GRAINConfig:
    """Hyper-parameters of a GRAIN; the defaults are the published network.

    The LR picture is 16×16 for every HR size, so that the scale is ``size / 16``: 64, 32 and 16 for 1024, 512 and 256.
    A smaller network is the published one without its largest levels. All layers below the three largest levels have
    the names and shapes of the published network, so that training may start from official weights. (A fixed scale of
    64 would give an LR of 4×4 at 256: 48 numbers per face, and too few pixels for the code encoder.)

    Attributes:
        size: side of the HR picture: 64, 128, 256, 512 or 1024.
        channels: channels of encoder and decoder.
        growth: growth of their dense blocks.
        trunk_blocks: RRDBs of the encoder.
        style_dim: length of a latent code.
        mapping_layers: layers of StyleGAN2's mapping network.
        generator_channels: channels of StyleGAN2 at 4, 8, … size; empty for its configuration F.
        fusion_channels: channels of the three branches of the fusion.

    Raises:
        UsageError: unknown size, a width below 1, or not one generator width per resolution.
    """

    size: int = 1024
    channels: int = 64
    growth: int = 32
    trunk_blocks: int = 10
    style_dim: int = 512
    mapping_layers: int = 8
    generator_channels: tuple[int, ...] = ()
    fusion_channels: tuple[int, int, int] = (128, 64, 32)

    def __post_init__(self) -> None:
        if self.size not in _SIZES:
            raise UsageError(f"GRAIN of size {self.size}: must be one of {', '.join(map(str, _SIZES))}")
        if not self.generator_channels:
            published = tuple(min(512, 2**15 // side) for side in self.resolutions)
            object.__setattr__(self, "generator_channels", published)
        if len(self.generator_channels) != len(self.resolutions):
            raise UsageError(
                f"generator_channels {self.generator_channels}: must be {len(self.resolutions)} widths, one for each "
                f"resolution from 4 to {self.size}"
            )
        widths = (self.channels // 2, self.growth, self.style_dim, *self.generator_channels, *self.fusion_channels)
        if min(widths) < 1 or min(self.trunk_blocks, self.mapping_layers) < 0:
            raise UsageError(f"{self}: widths must be 1 or more (channels 2 or more), numbers of layers 0 or more")

    @property
    def scale(self) -> int:
        """HR side / LR side."""
        return self.size // LR_SIDE

    @property
    def levels(self) -> tuple[int, ...]:
        """Sides of the decoder's feature maps: 16, 32, … size."""
        return tuple(side for side in self.resolutions if side >= LR_SIDE)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the generator's feature maps: 4, 8, … size."""
        return tuple(2**i for i in range(2, self.size.bit_length()))

    @classmethod
    def of(cls, state_dict: Mapping[str, Tensor]) -> GRAINConfig | None:
        """Read the hyper-parameters from names and shapes in a state_dict; return None if it is not a GRAIN's."""

        def width(key: str, dim: int = 0) -> int:
            tensor = state_dict.get(key)
            return tensor.shape[dim] if tensor is not None and tensor.ndim > dim else 0

        def count(pattern: str) -> int:
            return sum(re.fullmatch(pattern, key, re.ASCII) is not None for key in state_dict)

        levels = re.compile(r"invRRDB\.dec\.trunk_conv(\d{1,4})\.weight", re.ASCII)
        size = max((int(match[1]) for match in map(levels.fullmatch, state_dict) if match), default=0)
        generator = "codeStyleGAN.decoder"
        # The last layer of every resolution: the constant at 4, then each second of the convolutions.
        lasts = ["conv1", *(f"convs.{i}" for i in range(1, 2 * (size.bit_length() - 3), 2))]
        try:
            return cls(
                size=size,
                channels=width("invRRDB.enc.conv_first.weight"),
                growth=width("invRRDB.enc.RRDB_trunk.0.RDB1.conv1.weight"),
                trunk_blocks=count(r"invRRDB\.enc\.RRDB_trunk\.\d{1,3}\.RDB1\.conv1\.weight"),
                style_dim=width(f"{generator}.conv1.conv.modulation.weight", 1),
                mapping_layers=count(rf"{re.escape(generator)}\.style\.\d{{1,3}}\.weight"),
                generator_channels=tuple(width(f"{generator}.{name}.conv.weight", 1) for name in lasts),
                fusion_channels=(
                    width("Fusion.conv1.0.weight"),
                    width("Fusion.conv2.0.weight"),
                    width("Fusion.conv3.0.weight"),
                ),
            )
        except UsageError:
            return None
