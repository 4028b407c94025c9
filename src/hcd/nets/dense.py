"""Densely connected blocks: the sub-networks of couplings, and the residual trunks built of them.

Source: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017; Wang et al., "ESRGAN:
Enhanced Super-Resolution Generative Adversarial Networks", ECCVW 2018, section 3.1 (RRDB). Names and
shapes of the state_dicts are those of the official checkpoints of IRN, HCFlow and GRAIN.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_RESIDUAL_SCALE = 0.2
_SLOPE = 0.2  # of the leaky ReLU


class DenseBlock(nn.Module):
    """3×3 convolutions, each of which sees the input and all results before it.

    Maps ``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``. The last convolution starts at
    zero, so that an untrained coupling is the identity.

    Args:
        in_channels, out_channels: of the whole block.
        growth: channels that each convolution but the last adds.
        convs: number of convolutions, ``conv1`` to ``conv<convs>``.
    """

    def __init__(self, in_channels: int, out_channels: int, *, growth: int = 32, convs: int = 5) -> None:
        super().__init__()
        self._inner = tuple(f"conv{i}" for i in range(1, convs))
        self._last = f"conv{convs}"
        for i, name in enumerate((*self._inner, self._last)):
            out = out_channels if name == self._last else growth
            conv = nn.Conv2d(in_channels + i * growth, out, 3, padding=1)
            if name == self._last:
                nn.init.zeros_(conv.weight)
            else:
                nn.init.xavier_normal_(conv.weight, gain=0.1)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            self.add_module(name, conv)

    def forward(self, x: Tensor) -> Tensor:
        frozen = not any(parameter.requires_grad for parameter in self.parameters())
        if frozen and x.requires_grad and torch.is_grad_enabled() and not _in_autocast(x):
            result: Tensor = _FrozenDense.apply(x, *self._weights())  # type: ignore[no-untyped-call]
            return result
        for name in self._inner:
            x = torch.cat([x, F.leaky_relu(getattr(self, name)(x), _SLOPE)], dim=1)
        result = getattr(self, self._last)(x)
        return result

    def _weights(self) -> list[Tensor]:
        """Weight and bias of every convolution, first to last."""
        convs = [getattr(self, name) for name in (*self._inner, self._last)]
        return [tensor for conv in convs for tensor in (conv.weight, conv.bias)]


def _in_autocast(x: Tensor) -> bool:
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


class _FrozenDense(torch.autograd.Function):
    """A dense block whose weights stay as they are, for the gradient of its input alone.

    That gradient needs no more of the forward pass than which outputs were positive: one byte each, where autograd
    would keep every concatenated input in full. Equal to autograd up to the order of additions; differentiable once.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        positive = []
        for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            new = F.leaky_relu_(F.conv2d(x, weight, bias, padding=1), _SLOPE)
            positive.append(new > 0)
            x = torch.cat([x, new], dim=1)
        ctx.save_for_backward(*positive, *weights[::2])
        return F.conv2d(x, weights[-2], weights[-1], padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        # Unpacked once, which is all that checkpointing around this allows.
        saved = ctx.saved_tensors
        positive, weights = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        # By all the inputs of the last convolution, then by those of the one before, and so on.
        total = _input_gradient(gradient, weights[-1])
        for weight, mask in zip(reversed(weights[:-1]), reversed(positive), strict=True):
            seen = weight.shape[1]
            new = total[:, seen:]
            total = _input_gradient(torch.where(mask, new, _SLOPE * new), weight).add_(total[:, :seen])
        return total, *(None for _ in range(2 * len(weights)))


def _input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient of a 3×3 convolution by its input: a convolution with the weights turned around."""
    layout = torch.channels_last if weight.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    turned = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=layout)
    return F.conv2d(gradient.contiguous(memory_format=layout), turned, padding=1)


class ResidualDenseBlock(DenseBlock):
    """``x + 0.2 · dense(x)``; unlike in a coupling, its last convolution does not start at zero."""

    def __init__(self, channels: int, *, growth: int, convs: int = 5) -> None:
        super().__init__(channels, channels, growth=growth, convs=convs)
        nn.init.xavier_normal_(getattr(self, self._last).weight, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + _RESIDUAL_SCALE * super().forward(x)


class RRDB(nn.Module):
    """Residual in residual: ``x + 0.2 · RDBn(…RDB1(x))``.

    Args:
        channels: of input and output.
        growth: of the dense blocks.
        blocks: dense blocks inside, ``RDB1`` to ``RDB<blocks>``.
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
