"""How far a rescaler looks: the halo that its tiles need, measured."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from hcd.rescaler.base import Rescaler
from hcd.rescaler.gray import GrayRescaler

# LR pixels a side of the measured piece, of which the middle one is asked.
SMALLEST_PIECE, LARGEST_PIECE = 24, 48
# What lies outside the halo may change a pixel by this share of its own range: a quarter of a gray level.
_TOLERANCE = 0.25 / 255
_KNOWN: weakref.WeakKeyDictionary[Rescaler, int] = weakref.WeakKeyDictionary()


def receptive_field_of(model: Rescaler, *, side: int = LARGEST_PIECE) -> int:
    """The halo in LR pixels beyond which nothing changes a pixel by more than a quarter of a gray level.

    Measured where it counts, on the gradients of the middle of a piece of noise, once per model: of one restored
    block of ``scale`` × ``scale`` pixels with respect to LR, and of one LR pixel with respect to HR. A halo is wide
    enough when the absolute gradients outside it sum to less than a quarter of a gray level over the pixel's
    range, since no pixel there can differ by more than that range.

    Args:
        model: a rescaler without a fixed size.
        side: LR pixels of the piece to begin with, from 24 to 48. A smaller piece takes less memory; where three
            times the halo do not fit into it, it grows.

    Returns:
        At most half the side of the largest piece, 24, for models that look at the whole picture.
    """
    # Luma weighs the channels that the wrapped rescaler has been measured on.
    inner = model.inner if isinstance(model, GrayRescaler) else model
    if inner not in _KNOWN:
        radius = _radius_on(inner, side)
        while side < min(3 * radius, LARGEST_PIECE):
            side = min(3 * radius, LARGEST_PIECE)
            radius = _radius_on(inner, side)
        _KNOWN[inner] = radius
    return _KNOWN[inner]


def _radius_on(model: Rescaler, side: int) -> int:
    return max(_up(model, side), _down(model, side))


def _up(model: Rescaler, side: int) -> int:
    lr = _noise(model, side)
    with torch.enable_grad():
        block = _middle(model.upscale(lr), side // 2 * model.scale, model.scale)
        # A random sign per pixel stands for any of them: their gradients cannot cancel each other systematically.
        signs = _noise(model, model.scale).detach().sub(0.5).sign()
        (gradient,) = torch.autograd.grad((block * signs).mean(), lr)
    return _radius(gradient.abs().sum(dim=(0, 1)))


def _down(model: Rescaler, side: int) -> int:
    hr = _noise(model, side * model.scale)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(_middle(model.downscale(hr), side // 2, 1).mean(), hr)
    blocks = gradient.abs().sum(dim=(0, 1)).reshape(side, model.scale, side, model.scale)
    return _radius(blocks.sum(dim=(1, 3)))


def _radius(mass: Tensor) -> int:
    """The smallest distance from the middle beyond which less than the tolerance is left."""
    side = len(mass)
    offsets = (torch.arange(side, device=mass.device) - side // 2).abs()
    distance = torch.maximum(offsets[:, None], offsets[None, :])
    outside = [float(mass[distance > radius].sum()) for radius in range(side // 2 + 1)]
    return next(radius for radius, left in enumerate(outside) if left <= _TOLERANCE)


def _middle(x: Tensor, start: int, side: int) -> Tensor:
    return x[..., start : start + side, start : start + side]


def _noise(model: Rescaler, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    like = next(model.parameters(), torch.empty(0))
    return torch.rand(1, 3, side, side, generator=generator).to(like).requires_grad_()
