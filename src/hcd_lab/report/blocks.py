"""What a chapter of a report consists of."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from hcd_lab.report.result_table import Number


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two numbers that belong together, and what stands between them."""

    first: Number
    second: Number
    between: str = " ± "


Cell = str | Number | Pair
"""Of a table."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures in rows; the first column names them.

    Attributes:
        caption: what the figures are, with units.
        head: of the columns.
        rows: each as long as ``head``.
        strong: indices of rows that are set apart.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    strong: frozenset[int] = frozenset()
    kind: str = field(default="table", init=False)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture in the page, with the words that belong to it.

    Attributes:
        data: of a file.
        mime: of that file, such as ``image/png``.
        alt: for those who do not see it.
        caption: parts below it, text and numbers.
        pixelated: whether it is enlarged without smoothing.
    """

    data: bytes
    alt: str
    mime: str = "image/png"
    caption: Sequence[str | Number] = ()
    pixelated: bool = False

    @property
    def source(self) -> str:
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing over the whole width, also written as a file of its own.

    Attributes:
        name: of that file, without suffix.
        picture: as SVG.
    """

    name: str
    picture: Picture
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures side by side, such as one crop restored in several ways.

    Attributes:
        rows: how many consecutive pictures belong together; each group is a column, on narrow screens a row.
    """

    title: str
    pictures: Sequence[Picture]
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
    """A chapter as it is shown.

    Attributes:
        slug: its anchor, and what the rows of the CSV files call it.
        title: its heading.
        counterpart: which table or figure of the publication it repeats; empty for what that does not show.
        blocks: what it consists of.
    """

    slug: str
    title: str
    counterpart: str
    blocks: Sequence[Block]
