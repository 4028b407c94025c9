"""Single convolutions whose weights stay as they are, for the gradient of their input alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from hcd.nets.cpu import convolution
from hcd.nets.cpu.dense_block import FrozenBlock
from hcd.nets.cpu.dispatch import asks_for_operations, prepared, run_frozen


@final
class FreezableConv2d(nn.Conv2d):
    """A convolution that is faster once its weights are frozen, for one float32 picture on a CPU.

    Then 3×3 and 1×1 convolutions that keep the size are computed as :mod:`hcd.nets.cpu.convolution` does, the gradient
    by the input likewise with flipped weights. Nothing of the picture is kept; differentiable once. All else is
    left to PyTorch: other pictures and kinds of convolution, weights that are trained, and whoever wants to see the
    operations (autocast, tracing, derivatives in forward mode). Gradients are in float32 whatever precision is asked
    for: a single convolution gains nothing from bfloat16 (``docs/notes/0016``).
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.frozen(x)
        return super().forward(x) if kernel is None else run_frozen(kernel, x)

    def frozen(self, x: Tensor) -> FrozenBlock | None:
        """How this is computed for ``x``; None where that is left to PyTorch."""
        tensors = [self.weight] if self.bias is None else [self.weight, self.bias]
        if any(tensor.requires_grad for tensor in tensors) or not keeps_size(self) or asks_for_operations(x):
            return None
        # What does not fit together is PyTorch's to say.
        if x.ndim != 4 or x.shape[1] != self.in_channels or not convolution.is_fast_for(x):
            return None
        if any(tensor.dtype != x.dtype or tensor.device != x.device for tensor in tensors):
            return None
        return prepared(self, [tuple(tensors)], _Single)


def make_freezable(net: nn.Module) -> list[nn.Conv2d]:
    """Turn the convolutions of somebody else's network into :class:`FreezableConv2d`; returns those that it flipped.

    Weights, names and whatever else hangs on a module stay as they are. Subclasses of ``nn.Conv2d`` are left alone.
    """
    flipped = [module for module in net.modules() if type(module) is nn.Conv2d and keeps_size(module)]
    for conv in flipped:
        conv.__class__ = FreezableConv2d
    return flipped


def keeps_size(conv: nn.Conv2d) -> bool:
    """Whether a convolution is one of 3×3 or 1×1 that keeps height and width and sees zeros around the picture."""
    side = conv.kernel_size[0]
    return (
        conv.kernel_size in ((3, 3), (1, 1))
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding == (side // 2, side // 2)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


@final
class _Single(FrozenBlock):
    """One convolution, plane by plane."""

    def __init__(self, convs: Sequence[tuple[Tensor, ...]]) -> None:
        ((weight, *rest),) = convs
        bias = rest[0] if rest else None
        prepare = convolution.PointwiseConvolution if weight.shape[-1] == 1 else convolution.prepare
        self._forward = prepare(weight, bias)
        self._backward = prepare(convolution.flip_weights(weight), None)

    def forward(self, x: Tensor, kept: list[Tensor] | None) -> Tensor:
        return self._forward(x.contiguous())

    def backward(self, gradient: Tensor, kept: Sequence[Tensor]) -> Tensor:
        return self._backward(gradient.contiguous())
