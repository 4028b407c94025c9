"""3×3 convolutions of one picture on a CPU, each in the way that is fastest for its channels.

Three ways: by PyTorch's own (oneDNN, direct); by NNPACK's Winograd transform, which needs a fifth of the
multiplications, for many channels; by one matrix product, whose nine parts are then shifted and added, for few
outputs, which direct convolution would compute sixteen at a time.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016 (Winograd transform);
https://github.com/Maratyszcza/NNPACK, which PyTorch brings on most CPUs.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

# Inputs and pixels from which on the transform pays, and outputs up to which the matrix product does; measured.
_MANY_INPUTS, _MANY_PIXELS, _FEW_OUTPUTS = 16, 400, 4
# Bytes per pixel and channel, in and out, beside tensors: of the transformed tiles that NNPACK holds at once, measured;
# of what oneDNN lays out anew.
_WINOGRAD_WORKSPACE, _DIRECT_WORKSPACE = (5.34, 4.34), (4.0, 4.0)


class Convolution(ABC):
    """A prepared 3×3 convolution with zeros around the picture: ``[1, inputs, H, W] → [1, outputs, H, W]``, planes.

    Args:
        weight: ``[outputs, inputs, 3, 3]``.
        bias: ``[outputs]``, if there is one.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.outputs, self.inputs = weight.shape[:2]
        self._bias = bias

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...

    def _count_workspace(self, x: Tensor, per_channel: tuple[float, float]) -> Tensor | None:
        """Where memory is counted on tensors without contents, one that stands for what is worked in."""
        if not x.is_meta:
            return None
        per_pixel = per_channel[0] * self.inputs + per_channel[1] * self.outputs
        return x.new_empty(int(per_pixel * x.shape[-2] * x.shape[-1]), dtype=torch.uint8)


def is_fast_for(x: Tensor) -> bool:
    """Whether what is prepared here takes this tensor: one picture in float32, on a CPU or without contents."""
    return len(x) == 1 and x.dtype == torch.float32 and x.device.type in ("cpu", "meta")


def fastest_layout(x: Tensor) -> torch.memory_format:
    """The memory layout that frozen dense blocks are fastest in: planes where they run so, else channels-last."""
    return torch.contiguous_format if is_fast_for(x) else torch.channels_last


def prepare(weight: Tensor, bias: Tensor | None) -> Convolution:
    """The convolution in the way that is fastest for its channels, on the machine that this is."""
    outputs, inputs = weight.shape[:2]
    if outputs <= _FEW_OUTPUTS and inputs >= _MANY_INPUTS:
        return MatrixConvolution(weight, bias)
    if inputs >= _MANY_INPUTS and has_winograd():
        return WinogradConvolution(weight, bias)
    return DirectConvolution(weight, bias)


def flip_weights(weight: Tensor) -> Tensor:
    """The weights of the convolution that is the gradient by the input."""
    # Without contents a view will do, so that flipped weights take no memory where memory is counted.
    return weight.transpose(0, 1) if weight.is_meta else weight.flip(2, 3).transpose(0, 1)


@functools.cache
def has_winograd() -> bool:
    """Whether this PyTorch brings NNPACK and this processor can run it; asking makes it ready."""
    return bool(torch.backends.nnpack.is_available())  # type: ignore[no-untyped-call]


@final
class DirectConvolution(Convolution):
    """PyTorch's own."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._weight = weight if weight.is_meta else weight.contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        workspace = self._count_workspace(x, _DIRECT_WORKSPACE)
        y = F.conv2d(x, self._weight, self._bias, padding=1)
        del workspace
        return y


@final
class WinogradConvolution(Convolution):
    """NNPACK's; equal to direct convolution but for about 1e-5 of the largest value."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._weight = weight if weight.is_meta else weight.contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        if x.is_meta:
            workspace = self._count_workspace(x, _WINOGRAD_WORKSPACE)
            y = F.conv2d(x, self._weight, self._bias, padding=1)
            del workspace
            return y
        if x.shape[-2] * x.shape[-1] < _MANY_PIXELS:  # transforming the weights would cost more than it saves
            return F.conv2d(x, self._weight, self._bias, padding=1)
        return torch._nnpack_spatial_convolution(x, self._weight, self._bias, (1, 1))


@final
class MatrixConvolution(Convolution):
    """One product of all nine taps with the pixels, whose results are shifted into place and added."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._taps = taps(weight)

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        products = torch.mm(self._taps, x.reshape(self.inputs, height * width))
        return add_taps(products, height, width, self._bias)


@final
class PointwiseConvolution(Convolution):
    """Of 1×1 and no zeros around: one product."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        matrix = weight[:, :, 0, 0]
        self._matrix = matrix if weight.is_meta else matrix.contiguous()
        self._column = None if bias is None else bias[:, None]

    def __call__(self, x: Tensor) -> Tensor:
        y = x.new_empty((1, self.outputs, *x.shape[-2:]))
        pixels, out = x.reshape(self.inputs, -1), y.view(self.outputs, -1)
        if self._column is None:
            torch.mm(self._matrix, pixels, out=out)
        else:
            torch.addmm(self._column, self._matrix, pixels, out=out)
        return y


def taps(weight: Tensor) -> Tensor:
    """``[outputs, inputs, 3, 3]`` → ``[9 · outputs, inputs]``, to be multiplied with all pixels at once."""
    outputs, inputs = weight.shape[:2]
    if weight.is_meta:
        return weight.new_empty(()).expand(9 * outputs, inputs)
    return weight.flip(2, 3).permute(0, 2, 3, 1).reshape(9 * outputs, inputs)


def add_taps(products: Tensor, height: int, width: int, bias: Tensor | None) -> Tensor:
    """What nine taps found at every pixel, ``[9 · outputs, H · W]``, shifted and added: ``[1, outputs, H, W]``."""
    y = F.fold(products[None], (height, width), 3, padding=1)
    return y if bias is None else y.add_(bias[:, None, None])
