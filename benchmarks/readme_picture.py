"""Make the picture of the README from the files of ``hcd demo`` or ``hcd compare``.

    hcd demo --out hcd-demo
    python benchmarks/readme_picture.py hcd-demo docs/images/demo.jpg

It shows one crop six times. First row: the original, and the pictures restored from the plain and the collaborative LR.
Second row: the collaborative LR in its own pixels, and the errors of both restored pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SCALE = 4
PART = (112, 20, 352, 200)  # left, top, right, bottom in the original, multiples of the scale
SIDE, GAP, TITLE = 2, 12, 30  # magnification; pixels between and above


def part_of(folder: Path, name: str) -> Image.Image:
    """Return the crop of one picture, magnified without smoothing."""
    picture = Image.open(folder / name).convert("RGB")
    left, top, right, bottom = PART
    box = tuple(side // SCALE for side in PART) if name.endswith(".lr.png") else PART
    size = ((right - left) * SIDE, (bottom - top) * SIDE)
    return picture.crop(box).resize(size, Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    rows = [
        [
            ("original.png", "Original"),
            ("plain.png", "Restored from the plain LR"),
            ("balanced.png", "Restored from the collaborative LR"),
        ],
        [
            ("balanced.lr.png", "Collaborative LR, 1/4 of the side"),
            ("plain.error.png", "Error of plain, 8 times"),
            ("balanced.error.png", "Error of collaborative, 8 times"),
        ],
    ]
    cells = [[(part_of(given.folder, name), title) for name, title in row] for row in rows]
    width, height = cells[0][0][0].size
    sheet = Image.new("RGB", (3 * width + 4 * GAP, 2 * (height + TITLE + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for down, row in enumerate(cells):
        for across, (picture, title) in enumerate(row):
            left, top = GAP + across * (width + GAP), down * (height + TITLE + GAP)
            draw.text((left, top + 4), title, fill="#222222", font=font)
            sheet.paste(picture, (left, top + TITLE))
    sheet.save(given.out, quality=88, optimize=True)


if __name__ == "__main__":
    main()
