"""Residual Local Feature Network (RLFN): a small network for super-resolution.

Source: Kong et al., "Residual Local Feature Network for Efficient Super-Resolution", CVPRW 2022 (arXiv
2205.07514); the attention after Liu et al., "Residual Feature Aggregation Network for Image Super-Resolution",
CVPR 2020, section 3.3. Names and shapes of the state_dict are those of the official checkpoints.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.errors import UsageError
from hcd.nets.cpu.conv2d import FreezableConv2d

_PICTURE = 3
_SLOPE = 0.05


@dataclass(frozen=True, kw_only=True)
class RLFNShape:
    """Hyper-parameters of an :class:`RLFN`; the defaults are those of the published network.

    Attributes:
        scale: output side / input side.
        channels: channels of the features.
        attention_channels: inside the attention.
        blocks: number of residual local feature blocks.

    Raises:
        UsageError: a number is below 1.
    """

    scale: int = 4
    channels: int = 52
    attention_channels: int = 16
    blocks: int = 6

    def __post_init__(self) -> None:
        if min(self.scale, self.channels, self.attention_channels, self.blocks) < 1:
            raise UsageError(f"RLFN: got {self}; needs at least 1 of everything")


class SpatialAttention(nn.Module):
    """Enhanced spatial attention (ESA): features times a mask in (0, 1) with a wide receptive field.

    The mask comes of ``inner`` channels: a strided convolution and a pooling of stride 3 widen their receptive field,
    the result is interpolated back and added to the channels before pooling.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.conv1 = FreezableConv2d(channels, inner, 1)
        self.conv_f = FreezableConv2d(inner, inner, 1)
        self.conv2 = FreezableConv2d(inner, inner, 3, stride=2)
        self.conv3 = FreezableConv2d(inner, inner, 3, padding=1)
        self.conv4 = FreezableConv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.conv1(x)
        wide = self.conv3(F.max_pool2d(self.conv2(near), 7, stride=3))
        wide = F.interpolate(wide, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(wide + self.conv_f(near)))


class LocalFeatureBlock(nn.Module):
    """Residual local feature block (RLFB): three convolutions with a skip connection, then the attention."""

    def __init__(self, channels: int, attention_channels: int) -> None:
        super().__init__()
        self.c1_r = FreezableConv2d(channels, channels, 3, padding=1)
        self.c2_r = FreezableConv2d(channels, channels, 3, padding=1)
        self.c3_r = FreezableConv2d(channels, channels, 3, padding=1)
        self.c5 = FreezableConv2d(channels, channels, 1)
        self.esa = SpatialAttention(channels, attention_channels)

    def forward(self, x: Tensor) -> Tensor:
        local = x
        for conv in (self.c1_r, self.c2_r, self.c3_r):
            local = F.leaky_relu_(conv(local), _SLOPE)
        result: Tensor = self.esa(self.c5(x + local))
        return result


_PUBLISHED = RLFNShape()


class RLFN(nn.Module):
    """RLFN. Pictures are RGB in [0, 255], which the official weights were trained on.

    Args:
        shape: hyper-parameters; default: the published ×4 network.
    """

    smallest: ClassVar[int] = 15
    """Smallest side of an LR picture: below, the attention's pooling has no window."""

    def __init__(self, shape: RLFNShape = _PUBLISHED) -> None:
        super().__init__()
        self.shape = shape
        self.scale = shape.scale
        self.conv_1 = FreezableConv2d(_PICTURE, shape.channels, 3, padding=1)
        for i in range(1, shape.blocks + 1):
            self.add_module(f"block_{i}", LocalFeatureBlock(shape.channels, shape.attention_channels))
        self.conv_2 = FreezableConv2d(shape.channels, shape.channels, 3, padding=1)
        self.upsampler = nn.Sequential(
            FreezableConv2d(shape.channels, _PICTURE * shape.scale**2, 3, padding=1), nn.PixelShuffle(shape.scale)
        )

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``[N, 3, h, w]``, h and w at least ``smallest``, to ``[N, 3, h·scale, w·scale]``."""
        first = self.conv_1(lr)
        features = first
        for i in range(1, self.shape.blocks + 1):
            features = getattr(self, f"block_{i}")(features)
        result: Tensor = self.upsampler(self.conv_2(features) + first)
        return result

    @staticmethod
    def shape_of(state_dict: Mapping[str, Tensor]) -> RLFNShape | None:
        """Read the hyper-parameters from names and shapes in a state_dict; return None if it is not an RLFN's.

        Not every tensor is checked: compare them with a network of these hyper-parameters.
        """
        last = _outputs(state_dict, "upsampler.0.weight")
        scale = math.isqrt(last // _PICTURE)
        if last != _PICTURE * scale**2:
            return None
        try:
            return RLFNShape(
                scale=scale,
                channels=_outputs(state_dict, "conv_1.weight"),
                attention_channels=_outputs(state_dict, "block_1.esa.conv1.weight"),
                blocks=sum(re.fullmatch(r"block_\d{1,4}\.esa\.conv1\.weight", key) is not None for key in state_dict),
            )
        except UsageError:
            return None


def _outputs(state_dict: Mapping[str, Tensor], name: str) -> int:
    """Return the output channels of a convolution's weights; 0 if the tensor is missing or not four-dimensional."""
    weight = state_dict.get(name)
    return 0 if weight is None or weight.ndim != 4 else len(weight)
