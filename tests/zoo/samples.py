"""Small networks of every family, and the names under which the registry takes their weights."""

from __future__ import annotations

import torch
from torch import nn

from hcd.nets import RLFN
from hcd.nets.rlfn import RLFNShape
from hcd.rescaler import FixedKernelRescaler, SizeRequirement
from tests.conftest import make_tiny_irn, make_tiny_light
from tests.nets import hcflow_samples
from tests.tiny_grain import make_tiny_net as make_tiny_grain_net

NAMES = {"irn": "irn-x4", "light": "light-x4", "hcflow": "hcflow-x4", "grain": "grain-x16", "rlfn": "bicubic-rlfn-x2"}


def make_net(family: str) -> nn.Module:
    """A small network that is far from its initial state, of the scale that ``NAMES`` says."""
    if family == "irn":
        return make_tiny_irn(4).net
    if family == "light":
        return make_tiny_light().net
    if family == "hcflow":
        return hcflow_samples.make_tiny_net()
    if family == "grain":
        return make_tiny_grain_net(256)
    return make_tiny_rlfn_net(2)


def tensors_of(family: str) -> dict[str, torch.Tensor]:
    """The state of :func:`make_net`, in tensors of their own."""
    return {name: tensor.clone().contiguous() for name, tensor in make_net(family).state_dict().items()}


def make_tiny_rlfn_net(scale: int, *, seed: int = 0) -> RLFN:
    """An RLFN that repeats every pixel and adds what its blocks make of the surroundings: a few gray levels."""
    net = RLFN(RLFNShape(scale=scale, channels=8, attention_channels=4, blocks=2))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            gain = {"conv_2": 0.03, "upsampler": 0.0}.get(name.split(".")[0], 0.7)
            # The attention looks at sizes of hundreds: without a check it would be saturated.
            gain *= 0.02 if ".esa.conv1." in name else 1.0
            parameter.copy_(gain * noise if name.endswith("bias") else gain * noise / parameter[0].numel() ** 0.5)
        for channel in range(3):
            net.conv_1.weight[channel] = 0
            net.conv_1.weight[channel, channel, 1, 1] = 1
            net.upsampler[0].weight[channel * scale**2 : (channel + 1) * scale**2, channel, 1, 1] = 1
    return net.eval().requires_grad_(False)


def make_tiny_rlfn(scale: int, *, seed: int = 0) -> FixedKernelRescaler:
    """A frozen rescaler around :func:`make_tiny_rlfn_net`."""
    rescaler = FixedKernelRescaler(
        make_tiny_rlfn_net(scale, seed=seed),
        scale,
        name=f"tiny-bicubic-rlfn-x{scale}",
        white=255.0,
        size=SizeRequirement(minimum=RLFN.smallest),
    )
    rescaler.freeze()
    return rescaler
