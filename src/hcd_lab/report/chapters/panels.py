"""What the drawings of several chapters share: the size of their panels, and legends that hide no line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def panel_size(panels: int) -> tuple[float, float]:
    """In inches. A figure fills the width of the page: one panel by itself is wide, so that letters stay alike."""
    return (8.0, 3.4) if panels == 1 else (4.6, 3.4)


def legend_below(axes: Axes, *, columns: int, title: str | None = None) -> None:
    """A legend under the horizontal axis and its label."""
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
