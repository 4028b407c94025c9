"""3×3 and 1×1 convolutions of one NCHW picture on a CPU, each by the kernel that is fastest for its channels.

There are three kernels for 3×3. Direct convolution is PyTorch's own (oneDNN). Winograd's transform (NNPACK) needs a
fifth of the multiplications and pays with many input channels. With few output channels, direct convolution wastes
most of the sixteen that it computes at a time: one matrix product gives the nine taps, which are shifted and added.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (Winograd's transform);
https://github.com/Maratyszcza/NNPACK, which PyTorch includes on most CPUs.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F

# Measured: Winograd's transform pays from this number of inputs and pixels, the matrix product up to these outputs.
_MANY_INPUTS, _MANY_PIXELS, _FEW_OUTPUTS = 16, 400, 4


class Convolution(ABC):
    """A prepared convolution with zero padding that keeps the size: ``[1, inputs, H, W] → [1, outputs, H, W]``, NCHW.

    Args:
        weight: ``[outputs, inputs, side, side]``.
        bias: ``[outputs]`` or None.
    """

    workspace: ClassVar[tuple[float, float]] = (0.0, 0.0)
    """Bytes per pixel that it works in, beside its input and result: for every input channel, every output channel."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs, self.inputs = weight.shape[:2]
        self._bias = bias

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...


def is_fast_for(x: Tensor) -> bool:
    """Return whether these kernels apply: one float32 picture on a CPU, or on the meta device that stands for it."""
    return len(x) == 1 and x.dtype == torch.float32 and x.device.type in ("cpu", "meta")


def fastest_layout(x: Tensor) -> torch.memory_format:
    """Return the memory format in which dense blocks with frozen weights are fastest: NCHW where these kernels apply,
    else channels-last.
    """
    return torch.contiguous_format if is_fast_for(x) else torch.channels_last


def prepare(weight: Tensor, bias: Tensor | None = None) -> Convolution:
    """Prepare the fastest kernel for a convolution's channels and this machine.

    On the meta device, where memory is estimated, prepare a stand-in that allocates as much as the kernel.
    """
    kernel = _fastest_kernel(*weight.shape[:3])
    return StandIn(kernel, weight) if weight.is_meta else kernel(weight, bias)


def prepare_gradient(weight: Tensor) -> Convolution:
    """Prepare the gradient of a convolution with respect to its input."""
    # A view is enough on the meta device: prepared weights are counted apart, by `bytes_to_prepare`.
    return prepare(weight.transpose(0, 1) if weight.is_meta else flip_weights(weight))


def flip_weights(weight: Tensor) -> Tensor:
    """Return the weights of the convolution that is the gradient with respect to the input."""
    return weight.flip(2, 3).transpose(0, 1)


def _fastest_kernel(outputs: int, inputs: int, side: int) -> type[Convolution]:
    if side == 1:
        return PointwiseConvolution
    if outputs <= _FEW_OUTPUTS and inputs >= _MANY_INPUTS:
        return MatrixConvolution
    return WinogradConvolution if inputs >= _MANY_INPUTS and has_winograd() else DirectConvolution


@functools.cache
def has_winograd() -> bool:
    """Return whether this PyTorch includes NNPACK and this processor can run it; the question also initializes it."""
    return hasattr(torch, "_nnpack_spatial_convolution") and bool(torch.backends.nnpack.is_available())  # type: ignore[no-untyped-call]


@final
class DirectConvolution(Convolution):
    """PyTorch's own convolution."""

    workspace = (4.0, 4.0)  # oneDNN reorders both

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._weight = weight.contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._weight, self._bias, padding=1)


@final
class WinogradConvolution(Convolution):
    """NNPACK's convolution; equal to direct convolution up to about 1e-5 of the largest value."""

    workspace = (5.34, 4.34)  # transformed tiles, measured

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._weight = weight.contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[-2] * x.shape[-1] < _MANY_PIXELS:  # transforming the weights would cost more than it saves
            return F.conv2d(x, self._weight, self._bias, padding=1)
        return torch._nnpack_spatial_convolution(x, self._weight, self._bias, (1, 1))


@final
class MatrixConvolution(Convolution):
    """One matrix product of all nine taps with the pixels, whose results are shifted and added."""

    workspace = (0.0, 36.0)  # the taps' results

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._taps = taps(weight)

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        products = torch.mm(self._taps, x.reshape(self.inputs, height * width))
        return add_taps(products, height, width, self._bias)


@final
class PointwiseConvolution(Convolution):
    """1×1 convolution: one matrix product."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._matrix = weight[:, :, 0, 0].contiguous()
        self._column = None if bias is None else bias[:, None]

    def __call__(self, x: Tensor) -> Tensor:
        y = x.new_empty((1, self.outputs, *x.shape[-2:]))
        pixels, out = x.reshape(self.inputs, -1), y.view(self.outputs, -1)
        if self._column is None:
            torch.mm(self._matrix, pixels, out=out)
        else:
            torch.addmm(self._column, self._matrix, pixels, out=out)
        return y


@final
class StandIn(Convolution):
    """Allocates what a kernel would and computes nothing, for estimates on the meta device."""

    def __init__(self, kernel: type[Convolution], weight: Tensor) -> None:
        super().__init__(weight, None)
        per_input, per_output = kernel.workspace
        self._bytes_per_pixel = per_input * self.inputs + per_output * self.outputs

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        workspace = x.new_empty(int(self._bytes_per_pixel * height * width), dtype=torch.uint8)
        y = x.new_empty((1, self.outputs, height, width))
        del workspace
        return y


def taps(weight: Tensor) -> Tensor:
    """Reorder ``[outputs, inputs, 3, 3]`` to ``[9 · outputs, inputs]``, the matrix that multiplies all pixels."""
    outputs, inputs = weight.shape[:2]
    return weight.flip(2, 3).permute(0, 2, 3, 1).reshape(9 * outputs, inputs)


def add_taps(products: Tensor, height: int, width: int, bias: Tensor | None) -> Tensor:
    """Shift and add the products of the nine taps: ``[9 · outputs, H · W]`` → ``[1, outputs, H, W]``."""
    y = F.fold(products[None], (height, width), 3, padding=1)
    return y if bias is None else y.add_(bias[:, None, None])
