"""Hierarchical Collaborative Downscaling: small pictures from which the large ones can be rebuilt.

>>> import hcd
>>> model = hcd.load("irn-x4")
>>> model.scale
4
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hcd.collab import PRESETS, Result, Settings, collaborate
    from hcd.errors import HcdError
    from hcd.metrics import psnr, ssim
    from hcd.ops import quantize
    from hcd.rescaler import Rescaler
    from hcd.zoo import load

__version__ = "0.1.0"

_HOMES = {
    "HcdError": "hcd.errors",
    "PRESETS": "hcd.collab",
    "Rescaler": "hcd.rescaler",
    "Result": "hcd.collab",
    "Settings": "hcd.collab",
    "collaborate": "hcd.collab",
    "load": "hcd.zoo",
    "psnr": "hcd.metrics",
    "quantize": "hcd.ops",
    "ssim": "hcd.metrics",
}

__all__ = [
    "PRESETS",
    "HcdError",
    "Rescaler",
    "Result",
    "Settings",
    "collaborate",
    "load",
    "psnr",
    "quantize",
    "ssim",
]


def __getattr__(name: str) -> Any:
    """Hand on public names on first use, so that ``import hcd`` and ``hcd --help`` load no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hcd' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
