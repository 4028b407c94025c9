"""Importing torchvision beside a PyTorch that its compiled part does not fit."""

from __future__ import annotations

import importlib
import re

import torch

# What the import of torchvision 0.28 describes to PyTorch whether or not its compiled part was loaded.
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> None:
    """Import torchvision; where that fails for want of its compiled operators, declare those first.

    The published torchvision is compiled for the CUDA build of PyTorch. Beside a CPU build it goes on without its
    compiled part, then stumbles over two operators that only that part declares. A declaration without an
    implementation is enough for everything else in torchvision to work; calling one of the two still fails. A
    torchvision that imports is left as it is, and no operator that exists is declared again.

    Raises:
        ImportError: torchvision is not installed.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if re.search(r"operator torchvision::\w+ does not exist", str(error)) is None:
            raise
        for name in _OPERATORS:
            if not hasattr(torch.ops.torchvision, name):
                torch.library.define(f"torchvision::{name}", _SCHEMA)
        importlib.import_module("torchvision")
