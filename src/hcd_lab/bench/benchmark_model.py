"""What benchmarks of costs run: a network that costs what trained ones cost, a fresh process to run it in."""

from __future__ import annotations

import math
import multiprocessing
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import torch
from torch import nn

from hcd.errors import UsageError
from hcd.heap import keep_freed, keeps_freed
from hcd.nets import IRN
from hcd.rescaler import InvertibleRescaler, LatentPolicy, Rescaler
from hcd.zoo import load

_SEED = 0
Result = TypeVar("Result")


def build_subject(blocks: tuple[int, ...], model: str | None = None, device: str = "cpu") -> Rescaler:
    """The model that is measured.

    Args:
        blocks: couplings per level of an IRN with weights drawn from a seed, which costs what trained ones cost.
        model: the name of a model with weights that is taken instead.
        device: where it runs.
    """
    if model is not None:
        return load(model, device=device)
    torch.manual_seed(_SEED)
    net = IRN(blocks)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):  # the last convolution of a block starts at zero, which is no picture
            nn.init.normal_(module.weight, std=0.3 / math.sqrt(9 * module.in_channels))
    rescaler = InvertibleRescaler(net, latent=LatentPolicy(), name=f"irn-{blocks}").freeze()
    return rescaler.to(device)


def check_blocks(blocks: tuple[int, ...]) -> None:
    """
    Raises:
        UsageError: no couplings in a level, or no level.
    """
    if not blocks or min(blocks) < 1:
        raise UsageError(f"blocks {blocks}: need one or more couplings per level")


def parse_blocks(text: str) -> tuple[int, ...]:
    """Couplings per level from a command line.

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
    """``512`` or ``WIDTHxHEIGHT`` → height and width.

    Raises:
        UsageError: another text.

    >>> parse_size("6000x4000")
    (4000, 6000)
    """
    sides = text.strip().lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise UsageError(f"size '{text}': use a side in pixels, or WIDTHxHEIGHT")
    return int(sides[-1]), int(sides[0])


def in_fresh_process(function: Callable[..., Result], *arguments: object) -> Result:
    """What a function of a module returns in a process of its own, whose peak of memory is then the function's.

    It keeps freed memory where this process does.
    """
    context = multiprocessing.get_context("spawn")
    initializer = keep_freed if keeps_freed() else None
    with ProcessPoolExecutor(1, mp_context=context, initializer=initializer) as pool:
        return pool.submit(function, *arguments).result()


def describe_machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """The processor and what PyTorch makes of it, for reports."""
    on_gpu = torch.device(device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else device,
        "processor": platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
    }
