"""A GRAIN small enough for tests: every part and level, few channels, weights from a seed."""

from __future__ import annotations

import torch

from hcd.nets.grain import GRAIN, GRAINConfig
from hcd.rescaler.grain import GrainRescaler


def tiny_config(size: int = 64) -> GRAINConfig:
    """The published depth at 8 channels; the generator's widths fall as the published ones do."""
    return GRAINConfig(
        size=size,
        channels=8,
        growth=4,
        trunk_blocks=2,
        style_dim=12,
        mapping_layers=2,
        generator_channels=tuple(max(4, 16 - 2 * i) for i in range(size.bit_length() - 2)),
        fusion_channels=(12, 8, 6),
    )


def make_tiny_net(size: int = 64, *, seed: int = 0) -> GRAIN:
    """No weight is at a value that would hide it: noise has strength, biases and the average code are not zero."""
    net = GRAIN(tiny_config(size))
    generator = torch.Generator().manual_seed(seed)

    def noise(shape: torch.Size) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith(".kernel"):
                continue
            if "decoder.style." in name and name.endswith("weight"):
                tensor.copy_(100 * noise(tensor.shape))
            elif "modulation.bias" in name:
                tensor.copy_(1 + 0.1 * noise(tensor.shape))
            elif "decoder" in name and name.endswith("weight"):
                tensor.copy_(noise(tensor.shape) if "noise" not in name else 0.1 * noise(tensor.shape))
            elif "noise" in name or "input" in name:
                tensor.copy_(noise(tensor.shape))
            elif tensor.ndim == 1:
                tensor.copy_(0.05 * noise(tensor.shape))
            else:
                tensor.copy_(noise(tensor.shape) / tensor[0].numel() ** 0.5)
    net.requires_grad_(False)
    return net.eval()


def make_tiny_grain(size: int = 64, *, seed: int = 0) -> GrainRescaler:
    """A frozen rescaler around :func:`make_tiny_net`."""
    rescaler = GrainRescaler(make_tiny_net(size, seed=seed), name=f"tiny-grain-x{size // 16}")
    rescaler.freeze()
    return rescaler
