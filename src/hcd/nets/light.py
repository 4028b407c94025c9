"""Light invertible rescaling network: an IRN with stacks of a few narrow convolutions in place of dense blocks.

A coupling costs a fraction of IRN's: stacks have no skip connections and no concatenations, and one stack gives both
scale and shift. ``inverse`` needs only operators that every inference runtime has: convolution, leaky ReLU, exp, tanh,
elementwise arithmetic and pixel shuffle.

Source: Xiao et al., "Invertible Image Rescaling", ECCV 2020 (arXiv 2005.05650), for Haar transforms and couplings.
Departs: the sub-networks of couplings; the width may differ between levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.nets.cpu.coupling import FrozenCoupling, OneBlock
from hcd.nets.cpu.dense_block import SLOPE
from hcd.nets.cpu.dispatch import frozen_stack
from hcd.nets.cpu.kernel import Kernel, run_frozen
from hcd.nets.invertible import InvertibleNetwork, coupling_indices

_GAIN = 0.7  # of first weights, relative to He initialization: couplings in sequence add up


@final
@dataclass(frozen=True, kw_only=True)
class LightShape:
    """Hyper-parameters of a :class:`Light` network.

    Attributes:
        blocks: couplings per level, from HR to LR; its length is log2(scale).
        widths: channels inside the stacks of each level.
        convs: convolutions per stack, at least 2.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    convs: int = 3

    @property
    def scale(self) -> int:
        return 1 << len(self.blocks)

    @property
    def multiplications(self) -> float:
        """Multiplications of convolutions per HR pixel, in either direction."""
        total, channels = 0.0, 3
        for level, (count, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            channels *= 4
            details = channels - 3
            inner = 2 * (self.convs - 2) * width * width
            total += (
                count * 9 * (details * width + width * 3 + inner + 3 * width + width * 2 * details) / 4 ** (level + 1)
            )
        return total


@final
class Stack(nn.Module):
    """3×3 convolutions ``conv1`` to ``conv<convs>`` with leaky ReLUs between them; the last one starts at zero.

    Maps ``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``.
    """

    def __init__(self, in_channels: int, out_channels: int, *, width: int, convs: int) -> None:
        super().__init__()
        sizes = [in_channels, *[width] * (convs - 1), out_channels]
        self._names = tuple(f"conv{i}" for i in range(1, convs + 1))
        for name, inputs, outputs in zip(self._names, sizes, sizes[1:], strict=False):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, a=SLOPE)
            with torch.no_grad():
                conv.weight.mul_(0.0 if name == self._names[-1] else _GAIN)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            self.add_module(name, conv)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel_for(x)
        if kernel is not None:
            return run_frozen(kernel, x)
        *inner, last = self.convs
        for conv in inner:
            x = F.leaky_relu(conv(x), SLOPE)
        result: Tensor = last(x)
        return result

    def kernel_for(self, x: Tensor) -> Kernel | None:
        """Return the kernel for ``x``, or None if it is left to PyTorch."""
        return frozen_stack(self, [(conv.weight, cast(Tensor, conv.bias)) for conv in self.convs], x)

    @property
    def convs(self) -> list[nn.Conv2d]:
        """Convolutions, first to last."""
        return [getattr(self, name) for name in self._names]


@final
class LightCoupling(nn.Module):
    """Affine coupling between the LR picture (the first 3 channels) and the details (the others).

    Forward: ``y₁ = x₁ + f(x₂)``, then ``y₂ = x₂ · exp(s(y₁)) + t(y₁)``, where ``g`` gives both ``s``, clamped softly to
    (−1, 1) by ``tanh(·/2)``, and ``t``.
    """

    def __init__(self, channels: int, *, width: int, convs: int) -> None:
        super().__init__()
        details = channels - 3
        self.f = Stack(details, 3, width=width, convs=convs)
        self.g = Stack(3, 2 * details, width=width, convs=convs)

    def forward(self, x: Tensor) -> Tensor:
        frozen = self._frozen(x)
        if frozen is not None:
            return frozen.run(x)
        x1, x2 = x[:, :3], x[:, 3:]
        y1 = x1 + self.f(x2)
        log_scale, shift = self._scale_and_shift(y1)
        return torch.cat([y1, x2 * torch.exp(log_scale) + shift], dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        frozen = self._frozen(y)
        if frozen is not None:
            return frozen.run_inverse(y)
        y1, y2 = y[:, :3], y[:, 3:]
        log_scale, shift = self._scale_and_shift(y1)
        x2 = (y2 - shift) * torch.exp(-log_scale)
        return torch.cat([y1 - self.f(x2), x2], dim=1)

    def _frozen(self, x: Tensor) -> FrozenCoupling | None:
        f, g = self.f.kernel_for(x), self.g.kernel_for(x)
        if f is None or g is None:
            return None
        return FrozenCoupling(f=f, scale_and_shift=OneBlock(block=g), lr_channels=3)

    def _scale_and_shift(self, y1: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.g(y1).chunk(2, dim=1)
        return torch.tanh(scale / 2), shift


@final
class Light(InvertibleNetwork):
    """Light network: a Haar transform and ``shape.blocks[i]`` couplings per halving of the side.

    Args:
        shape: its hyper-parameters.
    """

    def __init__(self, shape: LightShape) -> None:
        def coupling(level: int, channels: int) -> nn.Module:
            return LightCoupling(channels, width=shape.widths[level], convs=shape.convs)

        super().__init__(shape.blocks, coupling)
        self.shape = shape

    @staticmethod
    def shape_of(state_dict: Mapping[str, Tensor]) -> LightShape | None:
        """Read the hyper-parameters from names and shapes of a state_dict; None where it is not a light network's."""
        levels = coupling_indices(state_dict, "f.conv1.weight")
        if not levels:
            return None
        firsts = [f"operations.{numbers[0]}.f.conv" if numbers else "" for numbers in levels]
        widths = [len(state_dict[f"{first}1.weight"]) if first else 1 for first in firsts]
        prefix = max(firsts)
        convs = sum(name.startswith(prefix) and name.endswith(".weight") for name in state_dict)
        return LightShape(blocks=tuple(map(len, levels)), widths=tuple(widths), convs=convs)
