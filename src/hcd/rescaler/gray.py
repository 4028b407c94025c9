"""Gray pictures on a color rescaler: restore luma only, since that is all a gray file keeps."""

from __future__ import annotations

from typing import final

from torch import Tensor

from hcd.rescaler.base import Rescaler

_LUMA = (0.299, 0.587, 0.114)


@final
class GrayRescaler(Rescaler):
    """Downscales as the wrapped rescaler does; reduces the upscaled picture to luma in three equal channels.

    Args:
        inner: the rescaler, which name, scale, weights, latent and size are taken from.

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

    @property
    def unwrapped(self) -> Rescaler:
        return self.inner.unwrapped

    def _downscale(self, hr: Tensor) -> Tensor:
        return self.inner.downscale(hr)

    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        red, green, blue = self.inner.upscale(lr, top=top, left=left).unbind(1)
        luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
        return luma.unsqueeze(1).expand(-1, 3, -1, -1)
