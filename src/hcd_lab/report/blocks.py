"""Building blocks of a page: tables, figures, galleries, paragraphs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from hcd.image import Picture, encode
from hcd_lab.report.results import Number


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two numbers in one cell, with the text between them."""

    first: Number
    second: Number
    between: str = " ± "


Cell = str | Number | Pair
"""Content of a table cell."""
ABSENT = "–"
"""Cell of a number that could not be measured."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        caption: what the numbers are, with units.
        head: column headings.
        rows: each as long as ``head``.
        strong: indices of rows that begin a group.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    strong: frozenset[int] = frozenset()
    kind: str = field(default="table", init=False)


@dataclass(frozen=True, kw_only=True)
class InlineImage:
    """An image embedded in the page.

    Attributes:
        data: bytes of the image file.
        alt: alternative text.
        mime: type of the file.
        caption: text and numbers below it.
        pixelated: enlarge without smoothing.
    """

    data: bytes
    alt: str
    mime: str = "image/png"
    caption: Sequence[str | Number] = ()
    pixelated: bool = False

    @property
    def source(self) -> str:
        """Data URL of the image."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


def png_block(rgb: Tensor, alt: str, caption: Sequence[str | Number], *, gray: bool = False) -> InlineImage:
    """Encode ``[1, 3, H, W]`` as a PNG that is enlarged without smoothing; values outside [0, 1] are clamped."""
    data = encode(Picture(rgb=rgb.clamp(0, 1), gray=gray), ".png")
    return InlineImage(data=data, alt=alt, caption=caption, pixelated=True)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing over the width of the page, also written as a file.

    Attributes:
        name: file name without suffix.
        image: SVG.
    """

    name: str
    image: InlineImage
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images side by side, such as one crop under several presets.

    Attributes:
        images: column by column.
        rows: images per column; on narrow screens, columns become rows.
    """

    title: str
    images: Sequence[InlineImage]
    rows: int = 1
    kind: str = field(default="gallery", init=False)


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A paragraph of text and numbers."""

    parts: Sequence[str | Number]
    kind: str = field(default="paragraph", init=False)


Block = Table | Figure | Gallery | Paragraph


@dataclass(frozen=True, kw_only=True)
class Section:
    """A chapter on the page.

    Attributes:
        slug: its anchor, also the ``chapter`` of its rows.
        title: its heading.
        counterpart: the table or figure of the publication that it reproduces.
        blocks: its content.
    """

    slug: str
    title: str
    counterpart: str
    blocks: Sequence[Block]
