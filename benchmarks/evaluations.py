"""One gradient evaluation against a plain transcription of the published scheme: seconds and memory, in one run.

The transcription is what the reference implementation does: autograd through the same network with gradients for
its weights, everything kept, memory laid out plane by plane. Every figure comes from a process of its own,
whose peak of memory is counted from when the model is loaded. What carries over to other machines is the ratio.

    python benchmarks/evaluations.py [--model irn-x4] [--sides 128,256,512]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import hcd
from hcd.collab import fit_solving
from hcd.collab.objective import Reconstruction

REPEATS = 3
WAYS = ("transcription", "hcd")


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure(model_name: str, way: str, stage: str, side: int) -> dict[str, float]:
    """Median seconds of an evaluation, and the memory that it takes beside model and picture."""
    model = hcd.load(model_name)
    if way == "transcription":
        model.requires_grad_(True)
        model.to(memory_format=torch.contiguous_format)
    hr = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        lr = hcd.quantize(model.downscale(hr[..., : 8 * model.scale, : 8 * model.scale]))
        lr = torch.nn.functional.interpolate(lr, size=(side // model.scale, side // model.scale), mode="bicubic")
    before = peak_bytes()
    if way == "hcd":
        model = fit_solving(hr, model, steps_hr=int(stage == "hr"), steps_lr=1)
    objective = Reconstruction(hr=hr, model=model)

    def evaluate() -> None:
        sample = (hr if stage == "hr" else lr).clone().requires_grad_()
        value = objective.from_lr(hcd.quantize(model.downscale(sample)) if stage == "hr" else sample)
        if way == "transcription":
            model.zero_grad()
            value.backward()
        else:
            torch.autograd.grad(value, sample)

    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        evaluate()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds[1:]), "bytes": peak_bytes() - before}


def in_a_process(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--one", *arguments], capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="irn-x4")
    parser.add_argument("--sides", default="128,256,512")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "STAGE", "SIDE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        way, stage, side = arguments.one
        print(json.dumps(measure(arguments.model, way, stage, int(side))))
        return
    table = Table("stage", "side", *(f"{way}: s, MiB" for way in WAYS), "times faster", "times less memory")
    for column in table.columns[1:]:
        column.justify = "right"
    table.title = f"{arguments.model}, one gradient evaluation, {torch.get_num_threads()} threads"
    for stage in ("lr", "hr"):
        for side in arguments.sides.split(","):
            results = [in_a_process(way, stage, side, "--model", arguments.model) for way in WAYS]
            plain, ours = results
            table.add_row(
                stage.upper(),
                f"{side}²",
                *(f"{r['seconds']:.2f}, {r['bytes'] / 2**20:.0f}" for r in results),
                f"{plain['seconds'] / ours['seconds']:.2f}",
                f"{plain['bytes'] / ours['bytes']:.1f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
