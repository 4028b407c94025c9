"""Any rescaler of any size, tile by tile: what it computes stays, what it takes of memory follows the tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from torch import Tensor

from hcd.errors import UsageError
from hcd.rescaler.base import Rescaler
from hcd.tiling import Tile, TileFunction, map_tiles, split, sum_tiles


@final
class TiledRescaler(Rescaler):
    """Runs the wrapped rescaler on windows of a picture; both maps and their gradients agree with it.

    How closely they agree is decided by the halo: see :func:`hcd.rescaler.receptive_field.receptive_field_of`.

    Args:
        inner: a rescaler without a fixed size; name, scale, weights and latent are its own.
        window: largest side of a window in LR pixels, or height and width, above ``2 · halo``.
        halo: LR pixels around a tile that are computed and not kept.
        before_tile: called before every tile is computed, in either direction.

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
        """The tiles of an LR picture of this size."""
        return split(height, width, window=self.window, halo=self.halo)

    def sum_over_tiles(self, function: TileFunction, lr: Tensor) -> Tensor:
        """The sum of a scalar function of restored HR cores.

        Value and gradient come in one pass over the tiles, twice as fast as through ``upscale``.

        Args:
            function: restored HR of a tile's core, and the tile → scalar tensor.
            lr: ``[N, 3, h, w]``.
        """

        def of_window(piece: Tensor, tile: Tile) -> Tensor:
            hr_hat = self._restore(piece, tile)
            return function(hr_hat[(..., *tile.core_in_window(self.scale))], tile)

        return sum_tiles(of_window, lr, self.tiles(*lr.shape[-2:]))

    def _downscale(self, hr: Tensor) -> Tensor:
        height, width = (side // self.scale for side in hr.shape[-2:])
        return map_tiles(self._reduce, hr, self.tiles(height, width), scale_in=self.scale)

    def _upscale(self, lr: Tensor) -> Tensor:
        return map_tiles(self._restore, lr, self.tiles(*lr.shape[-2:]), scale_out=self.scale)

    def _reduce(self, piece: Tensor, tile: Tile) -> Tensor:
        self._before_tile()
        return self.inner.downscale(piece)

    def _restore(self, piece: Tensor, tile: Tile) -> Tensor:
        self._before_tile()
        return self.inner.upscale(piece, top=tile.window_top, left=tile.window_left)
