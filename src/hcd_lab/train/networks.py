"""Build a recipe's network, grow it from smaller weights, and run both passes in one call."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hcd.errors import UsageError
from hcd.nets.hcflow import HCFlow, HCFlowShape
from hcd.nets.irn import IRN, Coupling
from hcd.nets.light import Light, LightCoupling, LightShape
from hcd.ops import quantize
from hcd.zoo import get_entry, read_checkpoint, read_metadata
from hcd_lab.train.recipe import HCFlowNetwork, IRNNetwork, LightNetwork, Recipe

Network = IRN | Light | HCFlow

_TOLERANCE = 1e-9


def build_network(recipe: Recipe) -> Network:
    """Build the network of a recipe, with weights from its seed and, if it names one, its start.

    Raises:
        UsageError: the start has no shipped weights, or is not a smaller network of the same family.
    """
    torch.manual_seed(recipe.seed)
    net = _untrained(recipe.network)
    start = _start(recipe)
    if not start:
        return net
    if isinstance(net, IRN):
        grow(net, start)
        return net
    if net.shape_of(start) != net.shape:
        family = recipe.network.family
        raise UsageError(f"recipe {recipe.name}: '{recipe.start}' is not of family {family} and the same size")
    net.load_state_dict(dict(start))
    return net


def _untrained(network: IRNNetwork | LightNetwork | HCFlowNetwork) -> Network:
    if isinstance(network, HCFlowNetwork):
        return HCFlow(HCFlowShape(steps=network.steps, conditional_steps=network.conditional_steps))
    if isinstance(network, LightNetwork):
        return Light(LightShape(blocks=network.blocks, widths=network.widths, convs=network.convs))
    return IRN(network.blocks)


def initialize_from(net: Network, hr: Tensor, bicubic: Tensor) -> None:
    """Initialize data-dependent layers, before the network is copied or wrapped.

    Args:
        net: freshly built, in training mode; an IRN has no such layers.
        hr: patches ``[N, 3, H, W]``.
        bicubic: their LR.
    """
    if isinstance(net, HCFlow):
        net.initialize(hr, bicubic)


def grow(net: IRN, smaller: Mapping[str, Tensor]) -> None:
    """Copy the couplings of a shallower network into ``net``, spread evenly; those in between stay identities.

    An untrained coupling is the identity, so ``net`` computes what the shallower network did, with more depth to train.
    Additional levels are the last ones, and only apply the Haar transform.

    Args:
        net: freshly built.
        smaller: state_dict of an :class:`IRN` with at most as many couplings on each level.

    Raises:
        UsageError: it has more couplings or levels.

    Source: identity-preserving growth after Chen, Goodfellow and Shlens, "Net2Net", ICLR 2016.
    """
    blocks = IRN.blocks_of(smaller)
    if not blocks or len(blocks) > len(net.blocks) or any(a > b for a, b in zip(blocks, net.blocks, strict=False)):
        raise UsageError(f"an IRN of blocks {net.blocks} cannot grow from one of blocks {blocks or 'none'}")
    old, new = 0, 0
    state: dict[str, Any] = dict(net.state_dict())
    for few, many in zip(blocks, net.blocks, strict=False):
        old, new = old + 1, new + 1  # past the Haar transform
        for i in range(few):
            prefix = f"operations.{old + i}."
            target = f"operations.{new + i * many // few}."
            state.update(
                {target + key.removeprefix(prefix): value for key, value in smaller.items() if key.startswith(prefix)}
            )
        old, new = old + few, new + many
    net.load_state_dict(state)


class RoundTrip(nn.Module):
    """Downscale, round, and upscale with latents that do not depend on the picture.

    A single ``forward`` is what data parallelism and graph capture need.

    Args:
        net: the network.
        latent_std: standard deviation of the Gaussian latents for upscaling; 0 for zeros.
        latent_share: share of the patches, rounded up, whose latents enter the loss and are drawn for upscaling. The
            others are upscaled from zeros, which saves an HCFlow the cost of their latents.
        part: ``(i, n)`` if this process gets every n-th patch from the i-th on, see
            :meth:`hcd_lab.train.Patches.batch`. Over all n processes, patches and loss are those of a single one.
    """

    def __init__(
        self,
        net: Network,
        latent_std: float = 0.0,
        latent_share: float = 1.0,
        *,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.net = net
        self.latent_std, self.latent_share, self.part = latent_std, latent_share, part

    def forward(self, hr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[N, 3, H, W]`` → LR before rounding, mean of z², and HR rebuilt from the rounded LR."""
        index, parts = self.part
        # Tolerance: the product should be an integer but may be off by rounding.
        counted = math.ceil(self.latent_share * len(hr) * parts - _TOLERANCE)
        lr, latents = self._down(hr, len(range(index, counted, parts)))
        elements = sum(z.shape[1:].numel() for z in latents) * counted / parts
        square = sum((z.square().sum() for z in latents), lr.new_zeros(())) / (elements or 1)
        return lr, square, self._up(quantize(lr), [self._draw(z, len(hr)) for z in latents])

    def _down(self, hr: Tensor, count: int) -> tuple[Tensor, Sequence[Tensor]]:
        """Return LR, and the latents of the first ``count`` patches."""
        if isinstance(self.net, HCFlow):
            lr, latents = self.net(hr, latents_of=count)
            return lr, latents
        y = self.net(hr)
        return y[:, :3], [y[:count, 3:]]

    def _draw(self, latent: Tensor, count: int) -> Tensor:
        """Return a latent of ``count`` patches: noise for those that have latents, zeros for the others."""
        zeros = latent.new_zeros((count, *latent.shape[1:]))
        if not self.latent_std:
            return zeros
        return torch.cat([torch.randn_like(latent) * self.latent_std, zeros[len(latent) :]])

    def _up(self, lr: Tensor, latents: Sequence[Tensor]) -> Tensor:
        if isinstance(self.net, HCFlow):
            return self.net.inverse(lr, latents or None)
        return self.net.inverse(torch.cat([lr, *latents], dim=1))


def _start(recipe: Recipe) -> Mapping[str, Tensor]:
    if not recipe.start:
        return {}
    file = get_entry(recipe.start).weights_file
    if file is None:
        raise UsageError(f"recipe {recipe.name}: no weights ship for its start '{recipe.start}'; leave it out")
    return read_checkpoint(file).tensors


def compile_couplings(net: nn.Module) -> None:
    """Compile both directions of every coupling; those of one level share their code."""
    # One compiled variant per level, direction, precision and patch size.
    torch._dynamo.config.recompile_limit = 64
    for module in net.modules():
        if isinstance(module, Coupling | LightCoupling):
            module.forward = torch.compile(module.forward, dynamic=False)  # type: ignore[method-assign]
            module.inverse = torch.compile(module.inverse, dynamic=False)  # type: ignore[method-assign]


def trained_pixels(name: str) -> int:
    """Return the HR pixels that the shipped weights of this name were trained on; 0 without weights."""
    file = get_entry(name).weights_file if name else None
    if file is None:
        return 0
    metadata = read_metadata(file)
    if "pixels" in metadata:
        return int(metadata["pixels"])
    # The oldest weights state steps, batch and patch instead.
    recipe = json.loads(metadata["recipe"])
    return int(metadata["steps"]) * int(recipe["batch"]) * int(recipe["patch"]) ** 2
