"""Drawings of a report: readable in grayscale, axes with units, the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hcd.errors import MissingDependencyError
from hcd_lab.report.blocks import Figure, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Lines are told apart by dashes and markers first; the colors keep their order of lightness in grayscale.
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)),
)  # fmt: skip
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
COLORS = ("#1b1f24", "#2b5c8a", "#a0522d", "#3f8f5f", "#7d6bb3", "#c08a2d", "#6f7f8f", "#b5546b")

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # The same figure is the same file.
    "svg.hashsalt": "hcd",
}


def draw(
    name: str,
    panels: Sequence[Callable[[Axes], None]],
    *,
    alt: str,
    columns: int = 2,
    size: tuple[float, float] = (4.6, 3.2),
) -> Figure:
    """A figure of several panels as SVG.

    Args:
        name: of its file, without suffix.
        panels: each draws into its axes.
        alt: what it shows, for those who do not see it; the caption too.
        columns: panels side by side.
        size: of one panel, in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with _style():
        from matplotlib.figure import Figure as Drawing

        drawing = Drawing(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        grid = drawing.subplots(rows, columns, squeeze=False).flatten()
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes, panel in zip(grid, panels, strict=False):
            panel(axes)
        data = io.BytesIO()
        drawing.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(name=name, picture=Picture(data=data.getvalue(), mime="image/svg+xml", alt=alt, caption=(alt,)))


def line(axes: Axes, x: Sequence[float], y: Sequence[float], index: int, label: str, *, markers: bool = True) -> None:
    """A line of its own dashes, marker and color."""
    axes.plot(
        x,
        y,
        linestyle=DASHES[index % len(DASHES)],
        marker=MARKERS[index % len(MARKERS)] if markers else "",
        color=COLORS[index % len(COLORS)],
        markersize=4,
        linewidth=1.3,
        label=label,
    )


@contextmanager
def _style() -> Iterator[None]:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingDependencyError("drawing needs matplotlib; pip install 'hcd[report]'") from error
    with mpl.rc_context(_STYLE):
        yield
