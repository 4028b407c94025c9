"""Drawings of a report: readable in grayscale, axes with units, deterministic bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hcd.errors import MissingDependencyError
from hcd_lab.report.blocks import Figure, InlineImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Lines differ in dashes and markers; colors keep their order of lightness in grayscale.
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
    # Makes the SVG deterministic.
    "svg.hashsalt": "hcd",
}


def draw(name: str, panels: Sequence[Callable[[Axes], None]], *, alt: str) -> Figure:
    """Draw a figure of panels, two side by side, as SVG.

    Args:
        name: file name without suffix.
        panels: each draws into its axes.
        alt: alternative text and caption.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    # A figure fills the width of the page, so a single panel is wide to keep the font size.
    width, height = (8.0, 3.4) if len(panels) == 1 else (4.6, 3.4)
    with _style():
        from matplotlib.figure import Figure as Drawing

        drawing = Drawing(figsize=(width * columns, height * rows), layout="constrained")
        grid = drawing.subplots(rows, columns, squeeze=False).flatten()
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes, panel in zip(grid, panels, strict=False):
            panel(axes)
        data = io.BytesIO()
        drawing.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(name=name, image=InlineImage(data=data.getvalue(), mime="image/svg+xml", alt=alt, caption=(alt,)))


def line(axes: Axes, x: Sequence[float], y: Sequence[float], index: int, label: str) -> None:
    """Draw the line of an index, with its own dashes, marker and color."""
    axes.plot(
        x,
        y,
        linestyle=DASHES[index % len(DASHES)],
        marker=MARKERS[index % len(MARKERS)],
        color=COLORS[index % len(COLORS)],
        markersize=4,
        linewidth=1.3,
        label=label,
    )


def legend_below(axes: Axes, *, columns: int, title: str) -> None:
    """Put the legend below the horizontal axis, where it hides no line."""
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
        ncols=columns,
        title=title,
        fontsize=7.5,
        title_fontsize=7.5,
        handlelength=2.4,
        columnspacing=1.2,
    )


@contextmanager
def _style() -> Iterator[None]:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingDependencyError("drawing needs matplotlib; pip install 'hcd[report]'") from error
    with mpl.rc_context(_STYLE):
        yield
