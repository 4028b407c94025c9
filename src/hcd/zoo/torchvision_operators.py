"""Import torchvision beside a PyTorch build that its compiled operators do not fit."""

from __future__ import annotations

import importlib
import re

import torch

# The operators that the import of torchvision 0.28 refers to even if its compiled part was not loaded. This file can go
# once torchvision imports beside any PyTorch build.
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> None:
    """Import torchvision; if that fails because its compiled operators are missing, declare them first.

    The published torchvision is compiled for the CUDA build of PyTorch. Beside a CPU build it ignores its compiled
    part, then refers to two operators that only that part declares. Declarations without implementations let everything
    else work; calling the two still fails. Nothing is declared if torchvision imports without them.

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
