"""The tables of docs/pictures.md: what becomes of every kind of file.

``python -m tests.image.tables`` writes them anew.
"""

from __future__ import annotations

import math
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import hcd
from hcd.errors import OutputError
from hcd.image import Codec, Picture, encode, losses_of_format, read_lr, read_picture
from hcd.pipeline import Receiver, downscale_picture
from tests.image.kinds import KINDS, LR_WAYS, Kind, Way, full_picture, gray_profile, send, write_lr

PAGE = Path(__file__).parents[2] / "docs" / "pictures.md"


def row(kind: Kind, way: Way) -> str:
    """One line of the table of kinds: what was in the file and is in the restored one."""
    data = kind.make()
    turned = b"a description" in data
    back = way.restored

    def kept(there: object, here: object) -> str:
        return "yes" if there and here else "lost" if there else "–"

    said = "; ".join(re.sub(r"^.*?: ", "", text) for text in way.warnings)
    extra = {"HEIF": "heif", "JPEG XL": "jxl"}.get(kind.format, "")
    if way.read.depth > 8 and not extra and not (kind.gray and "alpha" not in kind.mode):
        extra = "vips"
    cells = [
        kind.format,
        kind.mode,
        extra or "–",
        f"{way.read.depth}",
        kept(kind.channels in (2, 4), back.alpha is not None),
        kept(turned, way.psnr >= kind.floor),
        kept(way.read.icc, back.icc == way.read.icc),
        kept(turned, back.exif),
        kept(b"<x:xmpmeta" in data, back.xmp),
        kept(way.read.dpi, back.dpi),
        f"≥ {math.floor(kind.floor)}",
        said or "–",
    ]
    return "| " + " | ".join(cells) + " |"


def kinds_table() -> str:
    """Read: every kind, and what of it is in the picture that was rebuilt."""
    lines = [
        "| format | mode | extra | bits read | alpha | orientation | profile | EXIF | XMP | dpi | PSNR | warning |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        lines += [row(kind, send(kind, Path(folder))) for kind in KINDS]
    return "\n".join(lines)


def longest_side(suffix: str, codec: Codec | None) -> str:
    """The longest side that is written, and read again; one more is refused. A dash where the format sets no limit."""
    limit = {".webp": 16383, ".jpg": 65500, ".avif": 32768}.get(suffix)

    def there_and_back(side: int) -> int:
        ribbon = Picture(rgb=torch.full((1, 3, 1, side), 0.5))
        data = encode(ribbon, suffix) if codec is None else codec.encode(ribbon)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"ribbon{suffix}"
            path.write_bytes(data)
            return read_picture(path).width

    if limit is None:
        return "–" if there_and_back(70_000) == 70_000 else "lost"
    if there_and_back(limit) != limit:
        return "lost"
    try:
        there_and_back(limit + 1)
    except OutputError:
        return str(limit)
    return "more"


def lr_table() -> str:
    """Written: LR files, and what of the original is in the picture that is rebuilt from them."""
    lines = [
        "| LR file | pixels | bits | alpha | profile | gray profile | EXIF | XMP | dpi | longest side |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    model = hcd.load("bicubic-x2")
    with tempfile.TemporaryDirectory() as folder:
        for name, suffix, codec, depth in LR_WAYS:
            alpha = suffix != ".jpg"
            original = full_picture(alpha=alpha)
            small = downscale_picture(original, model, "plain", depth=depth)
            path = Path(folder) / f"photo.lr{suffix}"
            path.write_bytes(write_lr(small, suffix, codec))
            exact = torch.equal(read_lr(path)[0].rgb, small.picture.rgb)
            back = Receiver().restore(path)
            gray = downscale_picture(full_picture(gray=True, alpha=alpha), model, "plain", depth=depth)
            path.write_bytes(write_lr(gray, suffix, codec))
            cells = [
                name,
                "exact" if exact else "lossy",
                str(back.depth),
                ("yes" if back.alpha is not None else "lost") if alpha else "refused",
                *(
                    "yes" if same else "lost"
                    for same in (back.icc == original.icc, Receiver().restore(path).icc == gray_profile())
                ),
                *("yes" if same else "lost" for same in (back.exif == original.exif, back.xmp == original.xmp)),
                "yes" if back.dpi is not None and np.allclose(back.dpi, original.dpi or (0, 0), atol=0.6) else "lost",
                longest_side(suffix, codec),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def read_16_bit_result(folder: Path) -> Picture:
    path = folder / "deep.png"
    path.write_bytes(encode(full_picture(depth=16), ".png", depth=16))
    return read_picture(path)


def results_table() -> str:
    """Written: restored pictures."""
    lines = [
        "| result | pixels | 16 bits | alpha | profile | EXIF | XMP | dpi |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name, suffix in (("PNG", ".png"), ("WebP", ".webp"), ("TIFF", ".tif"), ("BMP", ".bmp"), ("JPEG", ".jpg"),
                             ("AVIF", ".avif")):  # fmt: skip
            original = full_picture()
            path = Path(folder) / f"big{suffix}"
            path.write_bytes(encode(original, suffix))
            back = read_picture(path)
            exact = torch.equal(back.rgb, original.rgb)
            said = " ".join(losses_of_format(full_picture(depth=16), path))
            checks = (
                back.alpha is not None,
                back.icc == original.icc,
                back.exif == original.exif,
                back.xmp is not None,
            )
            words = ("transparency", "color profile", "EXIF", "XMP")
            deep = suffix == ".png" and (read_16_bit_result(Path(folder)).depth == 16)
            cells = [
                name,
                "exact" if exact else "lossy, quality 95",
                "yes" if deep else "left out" if "bits per sample" in said else "lost",
                *(
                    "yes" if check else "left out" if word in said else "lost"
                    for check, word in zip(checks, words, strict=True)
                ),
                "yes" if back.dpi is not None else "lost",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


TABLES = {"kinds": kinds_table, "lr": lr_table, "results": results_table}


def with_tables(page: str) -> str:
    """The page with each table between its marks made anew."""
    for name, table in TABLES.items():
        mark = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        made = table()
        page, count = mark.subn(lambda found, made=made: f"{found[1]}\n{made}\n\n{found[2]}", page)
        if count != 1:
            raise ValueError(f"{PAGE}: no marks for the table '{name}'")
    return page


if __name__ == "__main__":
    torch.set_num_threads(1)
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name}: tables written\n")
