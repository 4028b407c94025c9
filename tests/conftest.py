"""Fixtures that every room's tests share."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import skimage.data
import torch
from hypothesis import settings
from torch import Tensor

from hcd.nets import IRN, Light, LightShape
from hcd.rescaler import InvertibleRescaler, LatentPolicy
from tests.golden import picture

# One thread: the sums of a convolution are then taken in the same order on every machine, and a machine
# that is shared stays usable.
torch.set_num_threads(1)

# Derandomized: a run that fails fails again. No deadline: the time of an example depends on the machine's load.
settings.register_profile("hcd", deadline=None, derandomize=True, database=None)
settings.load_profile("hcd")

_ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="session")
def _heap_as_it_is() -> Iterator[None]:
    """Commands that run in this process do not tell it how to take memory: no test depends on those before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("hcd.cli.main"), "keep_freed", lambda: False)
        yield


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Weights that a network draws when it is built are the same in every run, whichever tests ran before."""
    torch.manual_seed(0)


def _folder(variable: str, default: str, what: str) -> Path:
    folder = Path(os.environ.get(variable) or _ROOT / default)
    if not folder.is_dir():
        pytest.skip(f"{what} not found: {folder} is no folder; set {variable}")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden arrays (``HCD_GOLDEN``)."""
    return _folder("HCD_GOLDEN", "../shared/golden", "golden data")


@pytest.fixture(scope="session")
def benchmarks_folder() -> Path:
    """The folder of benchmark sets (``HCD_DATA``, its subfolder ``benchmarks``)."""
    benchmarks = _folder("HCD_DATA", "../shared/data", "benchmark data") / "benchmarks"
    if not benchmarks.is_dir():
        pytest.skip(f"benchmark data not found: {benchmarks} is no folder; set HCD_DATA")
    return benchmarks


# Size of the last convolution of each sub-network of a coupling. A strong F mixes details into the LR picture
# that upscaling without them cannot undo: that is what the method has to repair. G and H stay weak, so that
# pictures stay pictures.
_GAINS = {"F": 1.5, "G": 0.03, "H": 0.3}


def make_tiny_irn(scale: int, *, latent: str = "zeros", seed: int = 0) -> InvertibleRescaler:
    """An IRN of one coupling per level whose weights come from a seed: far from the identity, yet well-behaved."""
    net = IRN((1,) * round(math.log2(scale)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            _, _, part, convolution, kind = name.split(".")
            gain = _GAINS[part] if convolution == "conv5" else 0.8
            spread = 0.01 if kind == "bias" else gain / parameter[0].numel() ** 0.5
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    rescaler = InvertibleRescaler(net, latent=LatentPolicy.parse(latent), name=f"tiny-irn-x{scale}")
    rescaler.freeze()
    return rescaler


def make_tiny_light(blocks: tuple[int, ...] = (1, 2), *, seed: int = 0) -> InvertibleRescaler:
    """A light network of narrow stacks whose weights come from a seed: far from the identity, yet well-behaved."""
    net = Light(LightShape(blocks=blocks, widths=(6, 8)[: len(blocks)]))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            # As of make_tiny_irn: f disturbs LR, scale and shift stay weak.
            last = name.split(".")[3] == "conv3"
            gain = 0.8 if not last else 0.5 if name.split(".")[2] == "f" else 0.03
            spread = 0.01 if name.endswith("bias") else gain / parameter[0].numel() ** 0.5
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    rescaler = InvertibleRescaler(net, latent=LatentPolicy(), name=f"tiny-light-x{net.scale}")
    rescaler.freeze()
    return rescaler


@pytest.fixture
def tiny_irn() -> Callable[..., InvertibleRescaler]:
    """``tiny_irn(scale, latent="zeros", seed=0)`` makes a small invertible rescaler."""
    return make_tiny_irn


def make_smooth_picture(height: int, width: int) -> Tensor:
    """``[1, 3, H, W]``: soft waves of a few frequencies, an edge and a little texture, in (0, 1)."""
    rows = torch.linspace(0, 1, height)[:, None]
    columns = torch.linspace(0, 1, width)
    channels = []
    for index in range(3):
        waves = torch.sin(5 * columns + 3 * rows + index) + 0.5 * torch.cos(11 * rows - 7 * columns + 2 * index)
        texture = 0.1 * torch.sin(70 * columns) * torch.sin(60 * rows)
        edge = 0.6 * torch.sigmoid(40 * (columns - 0.3 - 0.4 * rows)) - 0.3
        channels.append(0.5 + 0.2 * (waves + texture + edge))
    return torch.stack(channels).clamp(0.01, 0.99)[None]


@pytest.fixture
def smooth_picture() -> Tensor:
    """A synthetic picture, 40×48, smooth as photographs are."""
    return make_smooth_picture(40, 48)


@pytest.fixture(scope="session")
def _photo() -> Tensor:
    return picture(skimage.data.astronaut()[90:138, 190:254])


@pytest.fixture
def photo(_photo: Tensor) -> Tensor:
    """A crop of a photograph, 48×64: an eye and hair of ``skimage.data.astronaut``."""
    return _photo.clone()
