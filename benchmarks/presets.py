"""Gain and cost of every preset against the published scheme, in one run on one machine.

Photographs are 256×256 crops of those that scikit-image ships. Seconds depend on the machine; what
carries over is the ratio to ``paper`` and the gain over ``plain``. The receiver's seconds must not differ.

    python benchmarks/presets.py [--model irn-x4] [--presets paper,fast,balanced,best]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table
from skimage import data

import hcd

SIDE = 256
PHOTOGRAPHS = {"chelsea": (20, 100), "coffee": (60, 170), "astronaut": (0, 100)}


def photograph(name: str) -> torch.Tensor:
    """A crop as ``[1, 3, 256, 256]`` in [0, 1]."""
    top, left = PHOTOGRAPHS[name]
    crop = getattr(data, name)()[top : top + SIDE, left : left + SIDE]
    return torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255


def receiver_ratio(model: hcd.Rescaler, lr: torch.Tensor, plain_lr: torch.Tensor, repeats: int = 7) -> float:
    """Time to upscale ``lr`` over that for ``plain_lr``: the median of pairs taken in turn, after one warm-up."""
    ratios = []
    for _ in range(repeats + 1):
        seconds = []
        for picture in (lr, plain_lr):
            start = time.perf_counter()
            with torch.inference_mode():
                model.upscale(picture)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="irn-x4")
    parser.add_argument("--presets", default="paper,fast,balanced,best")
    arguments = parser.parse_args()
    presets = arguments.presets.split(",")
    if "paper" not in presets:
        parser.error("--presets must hold paper, which the others are compared with")
    model = hcd.load(arguments.model)
    pictures = [photograph(name) for name in PHOTOGRAPHS]

    gain: dict[str, list[float]] = {preset: [] for preset in presets}
    seconds: dict[str, list[float]] = {preset: [] for preset in presets}
    receiver: dict[str, list[float]] = {preset: [] for preset in presets}
    evaluations: dict[str, int] = {}
    for hr in pictures:
        for preset in presets:
            result = hcd.collaborate(hr, model, preset)
            restored, plain = result.psnr[0], result.plain_psnr[0]
            assert restored is not None
            assert plain is not None
            gain[preset].append(restored - plain)
            seconds[preset].append(result.seconds)
            receiver[preset].append(receiver_ratio(model, result.lr, result.plain_lr))
            evaluations[preset] = result.grad_evals

    table = Table("preset", "evaluations", "gain (dB, RGB)", "seconds", "seconds / paper", "receiver / plain")
    for column in table.columns[1:]:
        column.justify = "right"
    table.title = f"{model.name}, {len(pictures)} photographs of {SIDE}×{SIDE}, {torch.get_num_threads()} threads"
    for preset in presets:
        ratios = [ours / paper for ours, paper in zip(seconds[preset], seconds["paper"], strict=True)]
        table.add_row(
            preset,
            str(evaluations[preset]),
            f"{statistics.mean(gain[preset]):+.2f}",
            f"{statistics.mean(seconds[preset]):.1f}",
            f"{statistics.mean(ratios):.2f}",
            f"{statistics.mean(receiver[preset]):.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
