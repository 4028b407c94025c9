"""The model that a benchmark runs, the machine that it runs on, and fresh processes to measure memory in."""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from hcd.errors import UsageError
from hcd.heap import keep_freed, keeps_freed
from hcd.nets import IRN
from hcd.rescaler import InvertibleRescaler, LatentPolicy, Rescaler
from hcd.zoo import load

_SEED = 0
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class BenchmarkModel:
    """A model to measure, and how it runs.

    Attributes:
        blocks: couplings per level of an IRN with random weights, which cost what trained ones cost; the default is
            the published ×4 network.
        name: name of a model with weights that is measured instead.
        threads: threads of PyTorch; None for its default.
        memory: limit in bytes; None for most of what is free.
        device: on a GPU, memory is that of tensors there, and CPU time means little.

    Raises:
        UsageError: no level, or a level without couplings.
    """

    blocks: tuple[int, ...] = (8, 8)
    name: str | None = None
    threads: int | None = None
    memory: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1:
            raise UsageError(f"blocks {self.blocks}: need one or more couplings per level")

    def build(self) -> Rescaler:
        """Return the rescaler, frozen."""
        if self.name is not None:
            return load(self.name, device=self.device)
        torch.manual_seed(_SEED)
        net = IRN(self.blocks)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):  # the last convolutions start at zero, which would show nothing
                nn.init.normal_(module.weight, std=0.3 / math.sqrt(9 * module.in_channels))
        return InvertibleRescaler(net, latent=LatentPolicy(), name=f"irn-{self.blocks}").freeze().to(self.device)

    def set_threads(self) -> None:
        """Set the threads of this process."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def check_sizes(self, sizes: tuple[tuple[int, int], ...]) -> None:
        """Check heights and widths of HR images.

        Raises:
            UsageError: no size, or a side that is shorter than the scale.
        """
        least = 1 << len(self.blocks)
        if not sizes or min(map(min, sizes)) < least:
            raise UsageError(f"sizes {sizes}: need one or more, with sides of at least {least}")

    def machine(self) -> dict[str, Any]:
        """Describe the machine, for a result."""
        return describe_machine(self.threads or torch.get_num_threads(), self.device)


def parse_blocks(text: str) -> tuple[int, ...]:
    """Parse couplings per level.

    Raises:
        UsageError: another text.

    >>> parse_blocks("8,8")
    (8, 8)
    """
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise UsageError(f"blocks {text}: use numbers with commas between, for instance 8,8") from error


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``512`` or ``WIDTHxHEIGHT`` to height and width.

    Raises:
        UsageError: another text.

    >>> parse_size("6000x4000")
    (4000, 6000)
    """
    sides = text.strip().lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise UsageError(f"size '{text}': use a side in pixels, or WIDTHxHEIGHT")
    return int(sides[-1]), int(sides[0])


def in_fresh_process(function: Callable[..., Value], *arguments: object) -> Value:
    """Call a function of a module in a fresh process, whose peak memory is then that of the call.

    The process keeps freed memory if this one does.
    """
    context = multiprocessing.get_context("spawn")
    initializer = keep_freed if keeps_freed() else None
    with ProcessPoolExecutor(1, mp_context=context, initializer=initializer) as pool:
        return pool.submit(function, *arguments).result()


def describe_machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Return the processor, what PyTorch uses of it, and the versions that times depend on."""
    on_gpu = torch.device(device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else device,
        "processor": platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
    }
