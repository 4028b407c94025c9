"""Single convolutions with frozen weights, where only the gradient with respect to the input is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from hcd.nets.cpu import convolution
from hcd.nets.cpu.dispatch import needs_operations, prepared
from hcd.nets.cpu.kernel import Kernel, run_frozen


@final
class FreezableConv2d(nn.Conv2d):
    """``nn.Conv2d`` that is faster once its weights are frozen, for one float32 picture on a CPU.

    Once frozen, 3×3 and 1×1 convolutions that keep the size run the kernels of :mod:`hcd.nets.cpu.convolution`. They
    save nothing for the gradient, which cannot be differentiated again. Everything else is left to PyTorch: batches,
    other types and kinds of convolution, trainable weights, autocast, tracing and ``torch.func``. Gradients are float32
    at any requested precision: a single convolution gains nothing from bfloat16 (``docs/notes/0016``).
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel_for(x)
        return super().forward(x) if kernel is None else run_frozen(kernel, x)

    def kernel_for(self, x: Tensor) -> Kernel | None:
        """Return the kernel for ``x``, or None if it is left to PyTorch."""
        tensors = [self.weight] if self.bias is None else [self.weight, self.bias]
        if any(tensor.requires_grad for tensor in tensors) or not keeps_size(self) or needs_operations(x):
            return None
        # PyTorch reports mismatches.
        if x.ndim != 4 or x.shape[1] != self.in_channels or not convolution.is_fast_for(x):
            return None
        if any(tensor.dtype != x.dtype or tensor.device != x.device for tensor in tensors):
            return None
        return prepared(self, [tuple(tensors)], _Conv2dKernel)


def make_freezable(net: nn.Module) -> list[nn.Conv2d]:
    """Replace the convolutions of a third-party network by :class:`FreezableConv2d`.

    Weights, names and hooks stay as they are. Subclasses of ``nn.Conv2d`` are left alone.

    Returns:
        The convolutions that were replaced.
    """
    turned = [module for module in net.modules() if type(module) is nn.Conv2d and keeps_size(module)]
    for conv in turned:
        conv.__class__ = FreezableConv2d
    return turned


def keeps_size(conv: nn.Conv2d) -> bool:
    """Return whether a convolution is 3×3 or 1×1, zero-padded, dense, and keeps height and width."""
    side = conv.kernel_size[0]
    return (
        conv.kernel_size in ((3, 3), (1, 1))
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding == (side // 2, side // 2)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


@final
class _Conv2dKernel(Kernel):
    """One NCHW convolution and its gradient."""

    def __init__(self, convs: Sequence[tuple[Tensor, ...]]) -> None:
        ((weight, *bias),) = convs
        self._forward = convolution.prepare(weight, *bias)
        self._backward = convolution.prepare_gradient(weight)

    def forward(self, x: Tensor, saved: list[Tensor] | None) -> Tensor:
        return self._forward(x.contiguous())

    def backward(self, gradient: Tensor, saved: Sequence[Tensor]) -> Tensor:
        return self._backward(gradient.contiguous())
