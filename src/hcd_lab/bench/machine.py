"""Measure this machine: time, peak memory, and the speed of its convolutions."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def peak_bytes(device: str = "cpu") -> int:
    """Return the peak resident memory of this process; on a GPU, the peak of its tensors there."""
    if _is_cuda(device):
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def finish(device: str = "cpu") -> None:
    """Synchronize with a GPU."""
    if _is_cuda(device):
        torch.cuda.synchronize(device)


def _is_cuda(device: str) -> bool:
    return torch.device(device).type == "cuda"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Time of the shortest of several runs.

    Attributes:
        seconds: wall time.
        cpu_seconds: CPU time over all threads; more robust if other work runs on the machine.
    """

    seconds: float
    cpu_seconds: float


def times_of(timing: Timing | None) -> tuple[float | None, float | None]:
    """Return the seconds and CPU seconds of a timing; None where nothing was run."""
    return (None, None) if timing is None else (timing.seconds, timing.cpu_seconds)


def time_in_turn(runs: Mapping[str, Callable[[], object]], *, repeats: int, device: str = "cpu") -> dict[str, Timing]:
    """Run each once to warm up, then all in turn, so that other work on the machine affects all of them equally."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            finish(device)
            if turn:
                found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Timing(seconds=min(wall for wall, _ in pairs), cpu_seconds=min(cpu for _, cpu in pairs))
        for name, pairs in found.items()
    }


@dataclass(frozen=True, kw_only=True)
class ConvShape:
    """A 3×3 convolution of one image with zero padding.

    Attributes:
        inputs, outputs: channels.
        height, width: pixels.
    """

    inputs: int
    outputs: int
    height: int
    width: int

    @property
    def flops(self) -> int:
        """Multiplications and additions of direct convolution."""
        return 18 * self.inputs * self.outputs * self.height * self.width


def convolutions_of(run: Callable[[], object], net: nn.Module) -> Counter[ConvShape]:
    """Count the 3×3 convolutions of each shape that a run makes in the modules of a network, forward."""
    counted: Counter[ConvShape] = Counter()

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            number, channels, height, width = inputs[0].shape
            shape = ConvShape(inputs=channels, outputs=module.out_channels, height=height, width=width)
            counted[shape] += number

    with contextlib.ExitStack() as stack:
        for module in net.modules():
            stack.callback(module.register_forward_pre_hook(count).remove)
        run()
    return counted


def with_input_gradients(forward: Counter[ConvShape]) -> Counter[ConvShape]:
    """Add the convolutions of the input gradients, which swap input and output channels."""
    both = Counter(forward)
    for shape, count in forward.items():
        swapped = ConvShape(inputs=shape.outputs, outputs=shape.inputs, height=shape.height, width=shape.width)
        both[swapped] += count
    return both


def flops(shapes: Counter[ConvShape]) -> int:
    """Return the operations of these convolutions, computed directly."""
    return sum(shape.flops * count for shape, count in shapes.items())


def convolution_timing(shapes: Counter[ConvShape], *, repeats: int, device: str = "cpu") -> Timing:
    """Time these convolutions in isolation, in float32, each in its fastest memory format.

    Only the library's own convolution runs (oneDNN on a CPU).
    """
    timings = [(count, _fastest(shape, repeats, device)) for shape, count in shapes.items()]
    return Timing(
        seconds=sum(count * timing.seconds for count, timing in timings),
        cpu_seconds=sum(count * timing.cpu_seconds for count, timing in timings),
    )


def _fastest(shape: ConvShape, repeats: int, device: str) -> Timing:
    x = torch.rand(1, shape.inputs, shape.height, shape.width, device=device)
    weight = torch.rand(shape.outputs, shape.inputs, 3, 3, device=device) - 0.5
    runs = {
        str(layout): functools.partial(
            _convolve, x.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)
        )
        for layout in (torch.contiguous_format, torch.channels_last)
    }
    timings = time_in_turn(runs, repeats=repeats, device=device).values()
    return min(timings, key=lambda timing: timing.cpu_seconds)


def _convolve(x: Tensor, weight: Tensor) -> None:
    with torch.inference_mode():
        F.conv2d(x, weight, padding=1)
