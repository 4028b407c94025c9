"""Measure what the receiver's network gains: LR files rebuilt by it, against the same files enlarged by bicubic.

A third column downscales and upscales by bicubic, without a network on either side. PSNR-Y is in dB, on 8-bit pictures
that are cropped to a multiple of the scale, without a border of ``scale`` pixels. LR PSNR-Y is against the bicubic LR.

    python benchmarks/enlarging.py ../shared/data/benchmarks/Set5 --model irn-x8 [--preset plain]
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

import hcd
from hcd.evaluate.measurement import benchmark_crop, measure
from hcd.image import Picture, list_pictures, read_picture
from hcd.ops import resize_bicubic

HEADS = ("network", "its LR by bicubic", "bicubic down and up", "LR PSNR-Y")


def metrics(file: Path, model: hcd.Rescaler, preset: str) -> tuple[float, ...]:
    """Return the metrics of one picture, in the order of ``HEADS``."""
    rgb = benchmark_crop(read_picture(file).rgb, model.scale, str(file))
    found = measure(Picture(rgb=rgb), model, hcd.PRESETS[preset], image=file.name, preset=preset)
    bicubic = hcd.quantize(resize_bicubic(rgb, Fraction(1, model.scale)))
    enlarged = (hcd.quantize(resize_bicubic(lr, Fraction(model.scale))) for lr in (found.lr, bicubic))
    reached = [hcd.psnr(picture, rgb, border=model.scale) for picture in enlarged]
    return found.row.psnr_y, *reached, found.row.lr_psnr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="irn-x8")
    parser.add_argument("--weights")
    parser.add_argument("--preset", default="plain")
    arguments = parser.parse_args()
    model = hcd.load(arguments.model, weights=arguments.weights)
    rows = {file.name: metrics(file, model, arguments.preset) for file in list_pictures(arguments.folder)}
    rows["mean"] = tuple(map(fmean, zip(*rows.values(), strict=True)))
    table = Table("picture", *HEADS, title=f"{model.name}, {arguments.preset}, PSNR-Y in dB")
    for name, values in rows.items():
        table.add_row(name, *(f"{value:.2f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
