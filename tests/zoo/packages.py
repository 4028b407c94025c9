"""Packages that add models, made on the spot."""

from __future__ import annotations

from pathlib import Path

MODULE = """
from torch import Tensor
from torch.nn import functional as F
import hcd

class Block(hcd.Rescaler):
    def __init__(self, name="acme-x3"):
        super().__init__(name=name, scale=3, weights_hash="0123456789abcdef")

    def _downscale(self, hr: Tensor) -> Tensor:
        return F.avg_pool2d(hr, 3)

    def _upscale(self, lr: Tensor, top: int, left: int) -> Tensor:
        return F.interpolate(lr, scale_factor=3, mode="nearest")

def fails():
    raise KeyError("no such thing\\nsecond line")

def other():
    return Block("another-name")

def nothing():
    return None
"""


def make_package(folder: Path, package: str, *points: str) -> Path:
    """What to put on the path for a package of :data:`MODULE` with entry points such as ``acme-x3 = acme:Block``."""
    root = folder / package
    info = root / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hcd.rescalers]\n" + "\n".join(points) + "\n")
    (root / f"{package}.py").write_text(MODULE)
    return root
