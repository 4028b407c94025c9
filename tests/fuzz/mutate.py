"""Whole files of every kind, and ways to spoil them."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from typing import Any

from hypothesis import strategies as st

import hcd
from hcd.image import LRInfo, Picture, encode
from hcd.pipeline import downscale_picture
from tests.image.kinds import KINDS, LR_WAYS, full_picture, write_lr
from tests.image.samples import with_valid_checksums

# Numbers that lengths and sizes go wrong at.
_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80",
            b"\0\0\1\0", b"\0\1\0\0")  # fmt: skip
# Metadata that somebody with bad intentions might write.
_TEXTS = (
    '{"version":1,"model":"../../../etc/passwd","weights":"","scale":2,"width":30,"height":43,"latent":"zeros","gray":false}',
    '{"version":1,"model":"spandrel:/etc/passwd","weights":"","scale":2,"width":30,"height":43,"latent":"zeros","gray":false}',
    '{"version":1,"model":"bicubic-x2","weights":"","scale":99999999,"width":1e9,"height":NaN,"latent":"zeros","gray":false}',
    '{"version":1,"model":"bicubic-x2","weights":"","scale":2147483648,"width":2147483648,"height":9999999999,"latent":"zeros","gray":false}',
    '{"version":1,"model":"bicubic-x2","weights":"","scale":2,"width":30,"height":43,"latent":"zeros","gray":true,"icc":"AAAA","description":"x","depth":16}',
    "[" * 3000,
    '{"a":' * 700,
    "NaN",
)


@dataclass(frozen=True)
class Sample:
    """A whole file and its name's suffix."""

    name: str
    suffix: str
    data: bytes


def texts() -> tuple[str, ...]:
    """Texts in the place of the metadata: those of an attacker, and a right one."""
    right = {"version": 1, **asdict(INFO), "icc": "eJw=", "description": "d"}
    return (*_TEXTS, json.dumps(right))


@functools.cache
def samples() -> tuple[Sample, ...]:
    """A file of every kind, LR files of every codec, and LR files with metadata of an attacker."""
    found = [Sample(f"{kind.format}-{kind.mode}", kind.suffix, kind.make()) for kind in KINDS]
    model = hcd.load("bicubic-x2")
    for name, suffix, codec, depth in LR_WAYS:
        for gray in (False, True):
            picture = full_picture(gray=gray, alpha=suffix != ".jpg")
            small = downscale_picture(picture, model, "plain", depth=depth)
            found.append(Sample(f"LR-{name}-{gray}", suffix, write_lr(small, suffix, codec)))
    lr: Picture = downscale_picture(full_picture(), model, "plain").picture
    for index, text in enumerate(_TEXTS):
        for suffix in (".png", ".webp"):
            found.append(Sample(f"text-{index}", suffix, encode(lr, suffix, comment=("hcd", text))))
    return tuple(found)


INFO = LRInfo(model="bicubic-x2", weights="", scale=2, width=30, height=43, latent="zeros")


def _at(share: float, near_the_start: bool, data: bytearray) -> int:
    # Headers are where parsers go wrong, and they are few among the bytes.
    return int(share * (min(len(data), 400) if near_the_start else len(data)))


_PLACE = st.tuples(st.floats(0, 1, exclude_max=True), st.booleans())
_CHANGE = st.one_of(
    st.tuples(st.just("flip"), st.tuples(st.floats(0, 1, exclude_max=True), st.just(False)), st.integers(1, 255)),
    st.tuples(st.just("flip"), _PLACE, st.integers(1, 255)),
    st.tuples(st.just("number"), _PLACE, st.sampled_from(_NUMBERS)),
    st.tuples(st.just("insert"), _PLACE, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("delete"), _PLACE, st.integers(1, 64)),
    st.tuples(st.just("repeat"), _PLACE, st.integers(1, 300)),
    st.tuples(st.just("cut"), _PLACE, st.just(0)),
)


def spoiled(data: bytes, changes: list[tuple[str, tuple[float, bool], Any]], checksums: bool) -> bytes:
    """The file with every change made to it, one after the other."""
    made = bytearray(data)
    for name, place, value in changes:
        if not made:
            break
        at = _at(*place, made)
        if name == "flip":
            made[at] ^= value
        elif name == "number":
            made[at : at + len(value)] = value
        elif name == "insert":
            made[at:at] = value
        elif name == "delete":
            del made[at : at + value]
        elif name == "repeat":
            made[at:at] = made[at : at + value]
        else:
            del made[at:]
    if checksums and made.startswith(b"\x89PNG\r\n\x1a\n"):
        return with_valid_checksums(bytes(made))
    return bytes(made)


CHANGES = st.lists(_CHANGE, min_size=1, max_size=3)
