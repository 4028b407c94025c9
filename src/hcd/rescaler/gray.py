"""Gray pictures on a rescaler for color: the receiver keeps luma alone, so luma is what is solved for."""

from __future__ import annotations

from typing import final

from torch import Tensor

from hcd.rescaler.base import Rescaler

_LUMA = (0.299, 0.587, 0.114)


@final
class GrayRescaler(Rescaler):
    """Downscales as the wrapped rescaler does; what it upscales is reduced to luma, in three equal channels.

    Args:
        inner: the rescaler; name, scale, weights, latent and size are its own.

    Source: luma of ITU-R BT.601, full range.
    """

    def __init__(self, inner: Rescaler) -> None:
        super().__init__(
            name=inner.name,
            scale=inner.scale,
            weights_hash=inner.weights_hash,
            latent=inner.latent,
            hr_size=inner.hr_size,
        )
        self.inner = inner

    def _downscale(self, hr: Tensor) -> Tensor:
        return self.inner.downscale(hr)

    def _upscale(self, lr: Tensor) -> Tensor:
        return self._upscale_piece(lr, 0, 0)

    def _upscale_piece(self, lr: Tensor, top: int, left: int) -> Tensor:
        red, green, blue = self.inner.upscale(lr, top=top, left=left).unbind(1)
        luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
        return luma.unsqueeze(1).expand(-1, 3, -1, -1)
