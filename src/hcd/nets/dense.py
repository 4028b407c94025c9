"""Densely connected blocks: the sub-networks of couplings, and residual trunks.

Source: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017; Wang et al., "ESRGAN:
Enhanced Super-Resolution Generative Adversarial Networks", ECCVW 2018, section 3.1 (RRDB). Names and
shapes of the state_dicts are those of the official checkpoints of IRN, HCFlow and GRAIN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.nets.cpu.dense_block import SLOPE, Convs
from hcd.nets.cpu.dispatch import frozen_kernel
from hcd.nets.cpu.kernel import Kernel, run_frozen
from hcd.nets.cpu.trained_block import run_trained, trains_in_bfloat16

_RESIDUAL_SCALE = 0.2


class DenseBlock(nn.Module):
    """3×3 convolutions, each of which sees the input and all results before it.

    Maps ``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``. The last convolution is initialized to zero, so
    that an untrained coupling is the identity.

    Args:
        in_channels, out_channels: channels of the block's input and output.
        growth: channels that each convolution but the last adds.
        convs: number of convolutions, ``conv1`` to ``conv<convs>``.

    Attributes:
        starts_at_zero: whether the last convolution is initialized to zero.
        has_bfloat16_kernel: whether the memory planner counts prepared weights in bfloat16 too.
    """

    starts_at_zero = True
    has_bfloat16_kernel = True

    def __init__(self, in_channels: int, out_channels: int, *, growth: int = 32, convs: int = 5) -> None:
        super().__init__()
        self._inner = tuple(f"conv{i}" for i in range(1, convs))
        self._output = f"conv{convs}"
        for i, name in enumerate((*self._inner, self._output)):
            out = out_channels if name == self._output else growth
            conv = nn.Conv2d(in_channels + i * growth, out, 3, padding=1)
            if name == self._output and self.starts_at_zero:
                nn.init.zeros_(conv.weight)
            else:
                nn.init.xavier_normal_(conv.weight, gain=0.1)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            self.add_module(name, conv)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel_for(x)
        if kernel is not None:
            return run_frozen(kernel, x)
        convs = self._convs()
        weights = _weights(convs)
        if trains_in_bfloat16(weights, x):
            return run_trained(weights, x)
        for conv in convs[:-1]:
            x = torch.cat([x, F.leaky_relu(conv(x), SLOPE)], dim=1)
        result: Tensor = convs[-1](x)
        return result

    @property
    def last(self) -> nn.Conv2d:
        """The last convolution."""
        return self._convs()[-1]

    def kernel_for(self, x: Tensor) -> Kernel | None:
        """Return the kernel for ``x``, or None if weights are trainable or a transform must see each op."""
        return frozen_kernel(self, _weights(self._convs()), x)

    def _convs(self) -> list[nn.Conv2d]:
        return [getattr(self, name) for name in (*self._inner, self._output)]


def _weights(convs: Sequence[nn.Conv2d]) -> Convs:
    return [(conv.weight, cast(Tensor, conv.bias)) for conv in convs]


class ResidualDenseBlock(DenseBlock):
    """``x + 0.2 · dense(x)``; its last convolution is not initialized to zero."""

    starts_at_zero = False

    def __init__(self, channels: int, *, growth: int, convs: int = 5) -> None:
        super().__init__(channels, channels, growth=growth, convs=convs)

    def forward(self, x: Tensor) -> Tensor:
        return x + _RESIDUAL_SCALE * super().forward(x)


class RRDB(nn.Module):
    """Residual-in-residual dense block: ``x + 0.2 · RDBn(…RDB1(x))``.

    Args:
        channels: channels of input and output.
        growth: growth of the dense blocks.
        blocks: number of dense blocks, ``RDB1`` to ``RDB<blocks>``.
        convs: convolutions per dense block.
    """

    def __init__(self, channels: int, *, growth: int, blocks: int = 3, convs: int = 5) -> None:
        super().__init__()
        for i in range(1, blocks + 1):
            self.add_module(f"RDB{i}", ResidualDenseBlock(channels, growth=growth, convs=convs))

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        for block in self.children():
            inner = block(inner)
        return x + _RESIDUAL_SCALE * inner
