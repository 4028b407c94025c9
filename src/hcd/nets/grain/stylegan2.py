"""StyleGAN2's generator in PyTorch's own operators: mapping network, modulated convolutions, noise from buffers.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020 (arXiv
1912.04958), configuration F. Names and shapes of the state_dict are those of the PyTorch checkpoints
that GRAIN loads.

Departs: a style multiplies the features, and the demodulation the result, instead of both multiplying the weights
(equal by section 2.2 of the paper), so that a batch is one convolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.nets.grain.recompute import recomputed

_EPSILON = 1e-8
_MAPPING_RATE = 0.01


def _fir() -> Tensor:
    """Return the 4×4 binomial filter; its weights sum to 4, to make up for the zeros between upsampled samples."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 16


def _leaky(x: Tensor) -> Tensor:
    """Apply a leaky ReLU, scaled to preserve the variance."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


class EqualLinear(nn.Module):
    """Linear layer with equalized learning rate: weights have unit variance and are scaled in the forward pass.

    Args:
        in_features, out_features: length of input and output.
        rate: factor of the learning rate of weights and bias.
        bias: initial value of the bias.
    """

    def __init__(self, in_features: int, out_features: int, *, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.rate = rate
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / rate)
        self.bias = nn.Parameter(torch.full((out_features,), bias))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * (self.rate / math.sqrt(self.weight.shape[1])), self.bias * self.rate)


class PixelNorm(nn.Module):
    """Normalizes every vector to a mean square of one."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + _EPSILON)


class MappingLayer(EqualLinear):
    """One layer of the mapping network."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, rate=_MAPPING_RATE)

    def forward(self, x: Tensor) -> Tensor:
        return _leaky(super().forward(x))


class Blur(nn.Module):
    """FIR filter after a transposed convolution: ``[N, C, 2H + 1, 2W + 1] → [N, C, 2H, 2W]``."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _fir())

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return F.conv2d(x, self.kernel.expand(channels, 1, 4, 4), padding=1, groups=channels)


class Upsample(nn.Module):
    """Upsamples pictures ×2: zeros between the samples, then the FIR filter."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _fir())

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return F.conv_transpose2d(x, self.kernel.expand(channels, 1, 4, 4), stride=2, padding=1, groups=channels)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style.

    Args:
        kernel_size: 1 or 3.
        demodulate: scale the outputs to unit variance, assuming inputs of unit variance.
        upsample: upsample ×2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        *,
        kernel_size: int = 3,
        demodulate: bool = True,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.weight = nn.Parameter(torch.randn(1, out_channels, in_channels, kernel_size, kernel_size))
        self.modulation = EqualLinear(style_dim, in_channels, bias=1.0)
        self.blur = Blur() if upsample else None

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map ``[N, in, H, W]`` and a code ``[N, style_dim]`` to ``[N, out, H, W]``, or twice the sides."""
        style = self.modulation(code)
        weight = self.weight[0] / math.sqrt(self.weight[0, 0].numel())
        x = x * style[:, :, None, None]
        if self.blur is None:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        else:
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        if self.demodulate:
            energy = F.linear(style.square(), weight.square().sum(dim=(2, 3)))
            x = x * torch.rsqrt(energy + _EPSILON)[:, :, None, None]
        return x


class Noise(nn.Module):
    """Adds a noise map ``[1, 1, H, W]`` to all channels, with a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight * noise


class BiasedActivation(nn.Module):
    """Bias per channel, then the leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _leaky(x + self.bias[:, None, None])


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias and activation: one layer of the generator."""

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_channels, out_channels, style_dim, upsample=upsample)
        self.noise = Noise()
        self.activate = BiasedActivation(out_channels)

    def forward(self, x: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        result: Tensor = self.activate(self.noise(self.conv(x, code), noise))
        return result


class ToRGB(nn.Module):
    """Maps features to RGB and adds the upsampled picture of the level below."""

    def __init__(self, in_channels: int, style_dim: int, *, upsample: bool = True) -> None:
        super().__init__()
        self.upsample = Upsample() if upsample else None
        self.conv = ModulatedConv(in_channels, 3, style_dim, kernel_size=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor, below: Tensor | None = None) -> Tensor:
        rgb: Tensor = self.conv(x, code) + self.bias
        return rgb if below is None or self.upsample is None else rgb + self.upsample(below)


class ConstantInput(nn.Module):
    """The generator's input: learned features of 4×4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Generator(nn.Module):
    """Maps codes, one per layer, to feature maps of every resolution and a picture. Noise maps are weights too.

    Args:
        style_dim: length of a code.
        channels: channels of the feature maps at 4, 8, 16, …
        mapping_layers: layers of the mapping network from Gaussian vectors to codes.
    """

    def __init__(self, *, style_dim: int, channels: Sequence[int], mapping_layers: int = 8) -> None:
        super().__init__()
        self.style = nn.Sequential(PixelNorm(), *(MappingLayer(style_dim) for _ in range(mapping_layers)))
        self.input = ConstantInput(channels[0])
        self.conv1 = StyledConv(channels[0], channels[0], style_dim)
        self.to_rgb1 = ToRGB(channels[0], style_dim, upsample=False)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        self.noises = nn.Module()
        self.noises.register_buffer("noise_0", torch.randn(1, 1, 4, 4))
        for level, (before, width) in enumerate(itertools.pairwise(channels)):
            self.convs.append(StyledConv(before, width, style_dim, upsample=True))
            self.convs.append(StyledConv(width, width, style_dim))
            self.to_rgbs.append(ToRGB(width, style_dim))
            for layer in (1, 2):
                side = 8 << level
                self.noises.register_buffer(f"noise_{2 * level + layer}", torch.randn(1, 1, side, side))

    def mapping(self, z: Tensor) -> Tensor:
        """Map Gaussian vectors ``[N, style_dim]`` to codes of the same shape. GRAIN does not use it."""
        codes: Tensor = self.style(z)
        return codes

    def features(self, codes: Tensor) -> list[Tensor]:
        """Map codes ``[N, 2·levels, style_dim]`` to the feature maps at 4, 8, 16, …"""
        x = self.input.input.expand(len(codes), -1, -1, -1)
        found: list[Tensor] = []
        for layer, conv in enumerate([self.conv1, *self.convs]):
            x = recomputed(conv, x, codes[:, layer], self.noises.get_buffer(f"noise_{layer}"))
            if layer % 2 == 0:
                found.append(x)
        return found

    def image(self, features: Sequence[Tensor], codes: Tensor) -> Tensor:
        """Map ``features(codes)`` to the picture ``[N, 3, side, side]``, in [−1, 1] for natural codes."""
        rgb: Tensor = self.to_rgb1(features[0], codes[:, 1])
        for level, to_rgb in enumerate(self.to_rgbs, start=1):
            rgb = to_rgb(features[level], codes[:, 2 * level + 1], rgb)
        return rgb

    def forward(self, codes: Tensor) -> Tensor:
        return self.image(self.features(codes), codes)
