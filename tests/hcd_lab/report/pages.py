"""What a page says, read back out of its HTML."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects numbers, addresses and text.

    Attributes:
        numbers: row of the CSV files → the text of each number that names it.
        addresses: of everything that a page can load or lead to: tag, attribute and value.
        text: all of it, without the style sheet.
        ids: of elements.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: list[tuple[str, str]] = []
        self.addresses: list[tuple[str, str, str]] = []
        self.text = ""
        self.ids: list[str] = []
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert len(values) == len(attrs), f"{tag}: an attribute twice"
        self.addresses += [(tag, name, values[name]) for name in ("src", "href", "srcset", "data") if name in values]
        if "id" in values:
            self.ids.append(values["id"])
        if tag not in _VOID:
            self._open.append((tag, values.get("data-row")))
            if "data-row" in values:
                self.numbers.append((values["data-row"], ""))

    def handle_endtag(self, tag):
        assert self._open, tag
        assert self._open.pop()[0] == tag, tag

    def handle_data(self, data):
        if self._open and self._open[-1][0] == "style":
            return
        self.text += data
        if self._open and self._open[-1][1] is not None:
            row, text = self.numbers[-1]
            self.numbers[-1] = row, text + data


def values_of(*texts: str) -> dict[str, float]:
    """Row → value, of CSV texts."""
    return {row["id"]: float(row["value"]) for text in texts for row in csv.DictReader(io.StringIO(text))}


def assert_shows(text: str, value: float) -> None:
    """The text of a number is its value, rounded to the digits that the text has."""
    if text == "–":
        assert value != value
    elif "∞" in text:
        assert format(value, "+") == ("−" if "−" in text else "+").replace("−", "-") + "inf"
    else:
        plain = text.replace("−", "-").replace(",", "").removeprefix("+")
        digits = len(plain.partition(".")[2])
        if "e" in plain:
            assert abs(float(plain) - value) <= 0.5 * abs(value)
        else:
            assert float(plain) == float(format(value, f".{digits}f")), (text, value)
