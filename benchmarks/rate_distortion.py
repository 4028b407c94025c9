"""Measure rate and distortion of lossy LR files, plain and collaborative: bytes of the file, PSNR of what it restores.

Every point is a whole file with its metadata, decoded and upscaled as the receiver does. PSNR-Y is in dB, on pictures
that are cropped to a multiple of the scale, without a border of ``scale`` pixels. The gain at equal bytes compares with
the plain curve of the same picture at the size of the collaborative file. The curve interpolates PSNR linearly over the
logarithm of bytes, between plain files of many qualities.

    python benchmarks/rate_distortion.py ../shared/data/benchmarks/Set5 --model bicubic-rlfn-x4 \\
        --weights ../shared/upscalers/rlfn_x4.pth [--format jpeg] [--preset balanced] [--qualities 70,80,90,95,98]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import hcd
from hcd.image import CODECS, Codec, Picture, decode_lr, list_pictures, read_picture
from hcd.pipeline import Downscaled, downscale_picture, upscale_picture

# Dense where the curve bends.
PLAIN_QUALITIES = (*range(20, 90, 5), 88, *range(90, 101))


@dataclass(frozen=True)
class Point:
    """One LR file and what is restored from it."""

    image: str
    quality: int
    bytes: int
    psnr_y: float


def measured(small: Downscaled, original: Picture, model: hcd.Rescaler, codec: Codec, image: str) -> Point:
    """Encode an LR picture with a codec, and measure the picture that a receiver restores from it."""
    data = replace(small, codec=codec).encode()
    decoded, info = decode_lr(data, Path(image))
    restored = upscale_picture(decoded, model, info)
    reached = hcd.psnr(restored.rgb, original.rgb, channel="y", border=model.scale)
    return Point(image, codec.quality, len(data), reached)


def at_bytes(curve: list[Point], size: int) -> float:
    """Return the PSNR-Y of a curve at a file size; beyond the curve, that of its end."""
    curve = sorted(curve, key=lambda point: point.bytes)
    logarithms = [math.log(point.bytes) for point in curve]
    return float(np.interp(math.log(size), logarithms, [point.psnr_y for point in curve]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="irn-x4")
    parser.add_argument("--weights")
    parser.add_argument("--format", default="jpeg", choices=CODECS)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--qualities", default="70,80,90,95,98")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    qualities = [int(quality) for quality in arguments.qualities.split(",")]
    model = hcd.load(arguments.model, weights=arguments.weights)

    plain: list[Point] = []
    ours: list[Point] = []
    for path in list_pictures(arguments.folder):
        picture = read_picture(path)
        height, width = (side - side % model.scale for side in (picture.height, picture.width))
        picture = replace(picture, rgb=picture.rgb[..., :height, :width].contiguous())
        start = downscale_picture(picture, model, "plain")
        for quality in sorted({*PLAIN_QUALITIES, *qualities}):
            plain.append(measured(start, picture, model, Codec(format=arguments.format, quality=quality), path.name))
        for quality in qualities:
            codec = Codec(format=arguments.format, quality=quality)
            small = downscale_picture(picture, model, arguments.preset, codec=codec)
            ours.append(measured(small, picture, model, codec, path.name))

    table = Table("quality", "plain bytes", "plain dB", "ours bytes", "ours dB", "gain at equal bytes (dB)", "least")
    table.title = (
        f"{model.name}, {arguments.format}, {arguments.preset}, {len({p.image for p in plain})} pictures, means"
    )
    for quality in qualities:
        before = [point for point in plain if point.quality == quality]
        after = [point for point in ours if point.quality == quality]
        gains = [point.psnr_y - at_bytes([p for p in plain if p.image == point.image], point.bytes) for point in after]
        table.add_row(
            str(quality),
            *(
                text
                for points in (before, after)
                for text in (
                    f"{statistics.mean(point.bytes for point in points):.0f}",
                    f"{statistics.mean(point.psnr_y for point in points):.2f}",
                )
            ),
            f"{statistics.mean(gains):+.2f}",
            f"{min(gains):+.2f}",
        )
    Console().print(table)
    if arguments.json is not None:
        report = {"model": model.name, "format": arguments.format, "preset": arguments.preset}
        report |= {"plain": [asdict(point) for point in plain], "collaborative": [asdict(point) for point in ours]}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
