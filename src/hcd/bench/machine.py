"""What this machine does at its best, and what a process has taken: the yardsticks of benchmarks."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class ConvShape:
    """A 3×3 convolution of one picture with zeros around it.

    Attributes:
        inputs, outputs: channels.
        height, width: pixels.
    """

    inputs: int
    outputs: int
    height: int
    width: int

    @property
    def flops(shapes: Counter[ConvShape]) -> int:
    """Operations of these convolutions, computed directly."""
    return sum(shape.flops * count for shape, count in shapes.items())
