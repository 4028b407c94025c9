"""HCFlow networks for tests: the golden one, and small ones whose weights come from a seed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hcd.nets.hcflow import HCFlow, HCFlowShape
from hcd.rescaler import LatentPolicy
from hcd.rescaler.hcflow import HCFlowRescaler
from tests import golden as gold

NAME = "hcflow_x4"

# Every size differs from every other, so that none can be taken for another.
TINY = HCFlowShape(
    steps=(2, 3), conditional_steps=(2, 1), growth=4, features=5, rrdb_growth=2, rrdb_blocks=(2, 1), hidden=6
)


@functools.cache
def _state_dict(folder: Path) -> dict[str, Tensor]:
    described = gold.spec(folder, NAME)
    return {entry["key"]: _fill(entry, described["seed_offset"]) for entry in described["tensors"]}


def golden_state_dict(folder: Path) -> dict[str, Tensor]:
    """The weights of the golden network, in the order of the official checkpoint; a copy that a test may spoil."""
    return {key: tensor.clone() for key, tensor in _state_dict(folder).items()}


def _fill(entry: dict[str, Any], seed_offset: int) -> Tensor:
    if entry["rule"] != "orthogonal":
        return gold._fill(entry, seed_offset)
    generator = np.random.RandomState(entry["seed"])
    q, r = np.linalg.qr(generator.standard_normal(entry["shape"]))
    values = q * np.sign(np.diag(r)) + entry["perturb_std"] * generator.standard_normal(entry["shape"])
    return torch.from_numpy(values.astype(np.float32))


def golden_net(folder: Path) -> HCFlow:
    """The published network with the golden weights, frozen."""
    net = HCFlow()
    net.load_state_dict(golden_state_dict(folder), strict=True)
    return net.eval().requires_grad_(False)


def make_tiny_net(shape: HCFlowShape = TINY, *, seed: int = 0, calm: bool = False) -> HCFlow:
    """A frozen network that is far from the identity in every part.

    Args:
        shape: its size.
        seed: of the weights.
        calm: pictures stay pictures: only the couplings that mix details into the LR picture are strong. What
            they do cannot be undone without the details: that is what the method has to repair.
    """
    net = HCFlow(shape)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            last = name.endswith(("conv5.weight", "conv3.weight", "condFlow.f.weight")) and "RRDB" not in name
            strength = 0.05 if calm and not (last and len(parameter) == 3) else 1.0
            if name.endswith("permute.weight"):
                parameter.copy_(torch.linalg.qr(noise)[0] + 0.03 * torch.randn(noise.shape, generator=generator))
            elif name.endswith(("bias", "logs")):
                parameter.copy_(0.03 * strength * noise)
            else:
                parameter.copy_((strength if last else 1.0) * 0.5 / parameter[0].numel() ** 0.5 * noise)
    for module in net.modules():
        if hasattr(module, "initialized"):
            module.initialized = True
    return net.eval().requires_grad_(False)


def make_tiny_hcflow(*, latent: str = "zeros", seed: int = 0) -> HCFlowRescaler:
    """A rescaler around a small network that keeps pictures pictures."""
    net = make_tiny_net(seed=seed, calm=True)
    rescaler = HCFlowRescaler(net, latent=LatentPolicy.parse(latent), name="tiny-hcflow-x4")
    rescaler.freeze()
    return rescaler
