"""Run any rescaler tile by tile: same results, but memory follows the tile size instead of the picture size."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from torch import Tensor

from hcd.errors import UsageError
from hcd.rescaler.base import Rescaler
from hcd.tiling import Tile, TileFunction, map_tiles, split, sum_tiles


@final
class TiledRescaler(Rescaler):
    """Runs the wrapped rescaler on windows of a picture.

    Results and gradients agree with the wrapped rescaler as closely as the halo covers its receptive field; see
    :func:`hcd.rescaler.receptive_field.receptive_field_of`.

    Args:
        inner: a rescaler without a fixed size, which name, scale, weights and latent are taken from.
        window: largest side of a window in LR pixels, or height and width; above ``2 · halo``.
        halo: LR pixels around a tile that are computed and discarded.
        before_tile: called before every tile, in both directions.

    Raises:
        UsageError: the window leaves no core, or the rescaler has a fixed size.
    """

    def __init__(
        self,
        inner: Rescaler,
        *,
        window: int | tuple[int, int],
        halo: int,
        before_tile: Callable[[], None] = lambda: None,
    ) -> None:
        if inner.hr_size is not None:
            raise UsageError(f"'{inner.name}' takes pictures of one size alone, which cannot be tiled")
        if min((window,) if isinstance(window, int) else window) <= 2 * halo:
            raise UsageError(f"window {window}: must be above twice the halo of {halo}")
        super().__init__(name=inner.name, scale=inner.scale, weights_hash=inner.weights_hash, latent=inner.latent)
        self.inner = inner
        self.window, self.halo = window, halo
        self._before_tile = before_tile

    def tiles(self, height: int, width: int) -> list[Tile]:
        return split(height, width, window=self.window, halo=self.halo)

    def sum_over(self, function: TileFunction, lr: Tensor) -> Tensor:
        # Value and gradient come in one pass over the tiles; through `upscale`, each tile would be computed twice.
        def of_window(piece: Tensor, tile: Tile) -> Tensor:
            hr_hat = self._upscale_window(piece, tile)
            return function(hr_hat[(..., *tile.core_in_window(self.scale))], tile)

        return sum_tiles(of_window, lr, self.tiles(*lr.shape[-2:]))

    @property
    def unwrapped(self) -> Rescaler:
        return self.inner.unwrapped

    def _downscale(self, hr: Tensor) -> Tensor:
        height, width = (side // self.scale for side in hr.shape[-2:])
        return map_tiles(self._downscale_window, hr, self.tiles(height, width), scale_in=self.scale)

    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        def of_window(piece: Tensor, tile: Tile) -> Tensor:
            return self._upscale_window(piece, tile, top, left)

        return map_tiles(of_window, lr, self.tiles(*lr.shape[-2:]), scale_out=self.scale)

    def _downscale_window(self, piece: Tensor, tile: Tile) -> Tensor:
        self._before_tile()
        return self.inner.downscale(piece)

    def _upscale_window(self, piece: Tensor, tile: Tile, top: int = 0, left: int = 0) -> Tensor:
        self._before_tile()
        return self.inner.upscale(piece, top=top + tile.window_top, left=left + tile.window_left)
