"""Apply a function to a picture tile by tile, in both directions of a rescaling, with gradients.

Every tile has a *core*, the part of the result that it gives, and a *window*, the core with a halo around it for the
function's receptive field. Cores tile the picture; windows end at its borders. Memory follows the window, not the
picture. If the halo covers the receptive field, results and gradients equal those of the whole picture: nothing is
blended and there are no seams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hcd.errors import UsageError

TileFunction = Callable[[Tensor, "Tile"], Tensor]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One tile, in LR pixels; ends are exclusive.

    Attributes:
        top, bottom, left, right: the core.
        window_top, window_bottom, window_left, window_right: core and halo, inside the picture.
    """

    top: int
    bottom: int
    left: int
    right: int
    window_top: int
    window_bottom: int
    window_left: int
    window_right: int

    def core(self, scale: int = 1) -> tuple[slice, slice]:
        """Return rows and columns of the core in a picture ``scale`` times the LR size."""
        return slice(self.top * scale, self.bottom * scale), slice(self.left * scale, self.right * scale)

    def window(self, scale: int = 1) -> tuple[slice, slice]:
        """Return rows and columns of the window in a picture ``scale`` times the LR size."""
        rows = slice(self.window_top * scale, self.window_bottom * scale)
        return rows, slice(self.window_left * scale, self.window_right * scale)

    def core_in_window(self, scale: int = 1) -> tuple[slice, slice]:
        """Return rows and columns of the core inside the window, in a picture ``scale`` times the LR size."""
        top, left = self.top - self.window_top, self.left - self.window_left
        rows = slice(top * scale, (top + self.bottom - self.top) * scale)
        return rows, slice(left * scale, (left + self.right - self.left) * scale)


def split(height: int, width: int, *, window: int | tuple[int, int], halo: int) -> list[Tile]:
    """Cut an LR picture into tiles with nearly equal cores, row by row.

    Args:
        height, width: size of the LR picture.
        window: largest side of a window, or height and width; above ``2 · halo``.
        halo: pixels that a window adds around its core, inside the picture.
    """
    rows, columns = (window, window) if isinstance(window, int) else window
    tiles = []
    for top, bottom in _parts(height, rows, halo):
        for left, right in _parts(width, columns, halo):
            tiles.append(
                Tile(
                    top=top,
                    bottom=bottom,
                    left=left,
                    right=right,
                    window_top=max(0, top - halo),
                    window_bottom=min(height, bottom + halo),
                    window_left=max(0, left - halo),
                    window_right=min(width, right + halo),
                )
            )
    return tiles


def cheapest_window(height: int, width: int, *, area: int, halo: int) -> tuple[int, int]:
    """Return height and width of the windows for which the tiles have the fewest pixels.

    Halos are computed twice, so few and nearly square windows are best; but there are no halos outside the picture.

    Args:
        height, width: size of the LR picture.
        area: largest number of pixels of a window.
        halo: as in :func:`split`.

    Raises:
        UsageError: a window of this area has no core.
    """
    best: tuple[int, tuple[int, int]] | None = None
    for rows in range(1, height + 1):
        tall = _longest_window(height, rows, halo)
        columns = _fewest_parts(width, area // tall, halo)
        if columns is not None:
            computed = (height + 2 * halo * (rows - 1)) * (width + 2 * halo * (columns - 1))
            if best is None or computed < best[0]:
                best = computed, (tall, _longest_window(width, columns, halo))
        if columns == 1:  # more rows only add to what is computed
            break
    if best is None:
        raise UsageError(f"area {area}: leaves no core in windows with a halo of {halo}; needs {(2 * halo + 1) ** 2}")
    # A side that is not cut may be shorter than its halos.
    return max(best[1][0], 2 * halo + 1), max(best[1][1], 2 * halo + 1)


def map_tiles(
    function: TileFunction, x: Tensor, tiles: Sequence[Tile], *, scale_in: int = 1, scale_out: int = 1
) -> Tensor:
    """Apply a function to a picture tile by tile; a gradient computes each tile again.

    Args:
        function: maps the part of ``x`` in a window, and the tile, to the result in that window.
        x: ``[N, C, h · scale_in, w · scale_in]`` for tiles of an ``h`` × ``w`` picture.
        tiles: from :func:`split`.

    Returns:
        ``[N, C', h · scale_out, w · scale_out]``.
    """
    result: Tensor = _MapTiles.apply(x, function, tuple(tiles), scale_in, scale_out)  # type: ignore[no-untyped-call]
    return result


def sum_tiles(function: TileFunction, x: Tensor, tiles: Sequence[Tile]) -> Tensor:
    """Sum a scalar function over all windows; its gradient is computed in the same pass.

    Args:
        function: maps the part of ``x`` in a window, and the tile, to a scalar tensor.
        x: ``[N, C, h, w]``.
        tiles: from :func:`split`.
    """
    result: Tensor = _SumTiles.apply(x, function, tuple(tiles))  # type: ignore[no-untyped-call]
    return result


def _parts(length: int, window: int, halo: int) -> list[tuple[int, int]]:
    """Return begin and end of the cores along one side."""
    count = 1 if length <= window else -(-length // (window - 2 * halo))
    return [(i * length // count, (i + 1) * length // count) for i in range(count)]


def _longest_window(length: int, parts: int, halo: int) -> int:
    """Return the longest window if a side is cut into this number of nearly equal cores."""
    return length if parts == 1 else min(length, -(-length // parts) + 2 * halo)


def _fewest_parts(length: int, window: int, halo: int) -> int | None:
    """Return the fewest cores along a side whose windows have at most this length; None if it leaves no core."""
    if length <= window:
        return 1
    return None if window <= 2 * halo else -(-length // (window - 2 * halo))


class _MapTiles(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, function: TileFunction, tiles: tuple[Tile, ...], scale_in: int, scale_out: int
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.function, ctx.tiles, ctx.scale_in, ctx.scale_out = function, tiles, scale_in, scale_out
        result = None
        for tile in tiles:
            piece = function(x[(..., *tile.window(scale_in))], tile)
            if result is None:
                height, width = (max(getattr(t, end) for t in tiles) * scale_out for end in ("bottom", "right"))
                result = piece.new_empty((*piece.shape[:-2], height, width))
            result[(..., *tile.core(scale_out))] = piece[(..., *tile.core_in_window(scale_out))]
        return x.new_empty(0) if result is None else result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        total = torch.zeros_like(x)
        for tile in ctx.tiles:
            window = (..., *tile.window(ctx.scale_in))
            with torch.enable_grad():
                piece = x[window].detach().requires_grad_()
                core = ctx.function(piece, tile)[(..., *tile.core_in_window(ctx.scale_out))]
            (part,) = torch.autograd.grad(core, piece, gradient[(..., *tile.core(ctx.scale_out))])
            total[window] += part
        return total, None, None, None, None


class _SumTiles(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: TileFunction, tiles: tuple[Tile, ...]) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(x) if wanted else None
        total = 0.0
        for tile in tiles:
            window = (..., *tile.window())
            with torch.set_grad_enabled(wanted):
                piece = x[window].detach().requires_grad_(wanted)
                value = function(piece, tile)
            if gradient is not None:
                gradient[window] += torch.autograd.grad(value, piece)[0]
            total += float(value.detach())
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return x.new_tensor(total)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (saved,) = ctx.saved_tensors
        return gradient * saved, None, None
