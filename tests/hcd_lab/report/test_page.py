"""The page: all kinds of blocks, numbers that name their rows, text that stays text."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hcd_lab.report.blocks import Figure, Gallery, InlineImage, Pair, Paragraph, Section, Table
from hcd_lab.report.page import ModelFacts, PageFacts, render_page
from hcd_lab.report.results import Label, ResultTable
from tests.hcd_lab.report.pages import Page, assert_shows, values_of

FACTS = PageFacts(
    version="1.2.3",
    config_hash="0123456789ab",
    command="hcd reproduce -o OUT",
    models=[ModelFacts(name="irn-x4", scale=4, weights_hash="3fa9" * 4, latent="zeros", parameters=2_200_000)],
    datasets=[("Set5", 5)],
    missing=[("Urban100", "with SelfExSR")],
    failed=[("irn-x4 Set5/bird plain", "too small")],
    machine="2 cores",
)
NASTY = "<script>alert('1')</script> & \"quoted\" {{ 7 * 7 }}"


def sections(text):
    """One of every kind of block, with a number in every place that takes one."""
    table = ResultTable()
    label = Label(chapter="test", model="m")
    a = table.add(label, "psnr_y", 31.256, "dB").shown()
    b = table.add(label, "gain", -0.5, "dB").shown("+.2f")
    c = table.add(label, "seconds", 1.25, "s", of_machine=True).shown(".1f")
    none = table.add(label, "gain", math.nan, "dB").shown()
    perfect = table.add(label, "lr_psnr", math.inf, "dB").shown()
    image = InlineImage(data=b"\x89PNG", alt=text, caption=[text, a], pixelated=True)
    blocks = [
        Paragraph(parts=[text, a, " dB"]),
        Table(caption=text, head=[text, "b"], rows=[[text, a], [b, Pair(first=c, second=none)]], strong=frozenset({1})),
        Figure(name="f", image=replace(image, mime="image/svg+xml", caption=(text,))),
        Gallery(title=text, images=[image, image]),
        Paragraph(parts=[perfect]),
    ]
    numbers = [a, a, b, c, none, a, a, perfect]
    return (
        table,
        [
            Section(slug="one", title=text, counterpart="table 1", blocks=blocks),
            Section(slug="two", title="Second", counterpart="figure 2", blocks=[]),
        ],
        numbers,
    )


def test_every_number_names_its_row_and_shows_its_value():
    table, chapters, numbers = sections("text")
    page = Page(render_page(FACTS, chapters))
    assert page.numbers == [(number.row, number.text) for number in numbers]
    values = values_of(table.csv(), table.csv(of_machine=True))
    for row, text in page.numbers:
        assert_shows(text, values[row])


def test_the_check_of_values_sees_a_wrong_one():
    for text, value in (("31.25", 31.256), ("−0.50", 0.5), ("–", 1.0), ("∞", 1.0), ("∞", -math.inf)):
        with pytest.raises(AssertionError):
            assert_shows(text, value)


def test_text_stays_text():
    html = render_page(replace(FACTS, failed=[(NASTY, NASTY)], command=NASTY), sections(NASTY)[1])
    page = Page(html)
    assert "<script" not in html
    assert page.text.count(NASTY) == 13
    assert f'alt="{NASTY}"' not in html


def test_every_chapter_has_its_anchor():
    page = Page(render_page(FACTS, sections("text")[1]))
    assert page.ids == ["one", "two"]
    links = [value for tag, name, value in page.addresses if tag == "a" and value.startswith("#")]
    assert links == ["#one", "#two"]
    assert "In the publication: table 1." in page.text


def test_pictures_are_in_the_page():
    page = Page(render_page(FACTS, sections("text")[1]))
    sources = [value for tag, name, value in page.addresses if tag == "img"]
    assert sources == [
        "data:image/svg+xml;base64,iVBORw==",
        "data:image/png;base64,iVBORw==",
        "data:image/png;base64,iVBORw==",
    ]


def test_facts_are_told():
    text = Page(render_page(FACTS, [])).text
    for part in ("hcd 1.2.3", "0123456789ab", "2,200,000", "3fa9" * 4, "Urban100: with SelfExSR", "2 cores"):
        assert part in text
    assert "irn-x4 Set5/bird plain: too small" in text


def test_what_is_complete_tells_no_gaps():
    text = Page(render_page(replace(FACTS, missing=[], failed=[]), [])).text
    assert "Missing sets" not in text
    assert "Could not be measured" not in text
