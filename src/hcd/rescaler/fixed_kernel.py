"""Fixed-kernel rescalers: bicubic downscaling, any super-resolution network for upscaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcd.errors import ShapeError, UsageError
from hcd.ops import resize_bicubic
from hcd.rescaler.base import Rescaler

_SINGLE = (torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True)
class SizeRequirement:
    """LR sizes that an upscaler accepts.

    Attributes:
        minimum: smallest side, in pixels.
        multiple_of: common divisor of both sides.
        square: whether the sides must be equal.

    Raises:
        UsageError: ``multiple_of`` is below 1.
    """

    minimum: int = 1
    multiple_of: int = 1
    square: bool = False

    def __post_init__(self) -> None:
        if self.multiple_of < 1:
            raise UsageError(f"multiple_of {self.multiple_of}: must be 1 or more")

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest allowed height and width that hold a picture of this size.

        >>> SizeRequirement(minimum=15, multiple_of=8).fit(9, 20)
        (16, 24)
        """
        sides = [max(side, self.minimum) for side in (height, width)]
        if self.square:
            sides = [max(sides)] * 2
        rows, columns = (-(-side // self.multiple_of) * self.multiple_of for side in sides)
        return rows, columns


@final
class FixedKernelRescaler(Rescaler):
    """Downscales by bicubic interpolation, upscales with a super-resolution network.

    The interpolation is MATLAB's, antialiased, which these networks are trained on. An LR picture whose size the
    network does not accept is padded at the right and bottom, by reflection as far as possible, then by replication.
    The output is cropped. Spandrel calls networks in the same manner.

    Args:
        upscaler: maps ``[N, 3, h, w]`` to ``[N, 3, h·scale, w·scale]``, RGB, differentiable and deterministic.
        scale: HR side / LR side.
        white: the upscaler's value for white, for instance 255.
        size: the LR sizes that the upscaler accepts.
        precisions: the precisions that the upscaler runs in; single and double by default.
        call: runs the upscaler as ``call(upscaler, lr)``; default: ``upscaler(lr)``.
        name, weights_hash: as for :class:`Rescaler`.
    """

    def __init__(
        self,
        upscaler: nn.Module,
        scale: int,
        *,
        name: str,
        weights_hash: str = "",
        white: float = 1.0,
        size: SizeRequirement | None = None,
        precisions: tuple[torch.dtype, ...] = _SINGLE,
        call: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(name=name, scale=scale, weights_hash=weights_hash)
        self.upscaler = upscaler
        self._white = white
        self._size = SizeRequirement() if size is None else size
        self._precisions = precisions
        self._call = call

    def _downscale(self, hr: Tensor) -> Tensor:
        return resize_bicubic(hr, Fraction(1, self.scale))

    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        if lr.dtype not in self._precisions:
            raise ShapeError(
                f"upscale: got {lr.dtype}, '{self.name}' runs in {', '.join(map(str, self._precisions))}; "
                "convert model and picture to one of these"
            )
        height, width = lr.shape[-2:]
        rows, columns = self._size.fit(height, width)
        if (rows, columns) != (height, width):
            lr = _extend(lr, rows, columns)
        white = self._white * lr
        hr: Tensor = self.upscaler(white) if self._call is None else self._call(self.upscaler, white)
        wanted = (*lr.shape[:-2], rows * self.scale, columns * self.scale)
        if hr.shape != wanted:
            raise ShapeError(
                f"upscale: the upscaler of '{self.name}' made {tuple(hr.shape)} of {tuple(lr.shape)}, needs {wanted} "
                f"at scale {self.scale}; give the scale that it has"
            )
        return hr[..., : height * self.scale, : width * self.scale] / self._white


def _extend(image: Tensor, rows: int, columns: int) -> Tensor:
    height, width = image.shape[-2:]
    mirrored = F.pad(image, (0, min(columns - width, width - 1), 0, min(rows - height, height - 1)), mode="reflect")
    height, width = mirrored.shape[-2:]
    return F.pad(mirrored, (0, columns - width, 0, rows - height), mode="replicate")
