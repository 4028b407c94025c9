"""Measure the receptive field of a rescaler: the halo that its tiles need."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from hcd.rescaler.base import Rescaler

# Side of the measured piece in LR pixels; gradients are taken at its middle.
SMALLEST_PIECE, LARGEST_PIECE = 24, 48
# Pixels outside the halo may change a pixel by at most a quarter of a gray level.
_TOLERANCE = 0.25 / 255
# Measuring costs as much as several evaluations of a picture, so that each model is measured once.
_KNOWN: weakref.WeakKeyDictionary[Rescaler, int] = weakref.WeakKeyDictionary()


def receptive_field_of(model: Rescaler, *, side: int = SMALLEST_PIECE) -> int:
    """Return the halo in LR pixels beyond which no pixel changes another by more than a quarter of a gray level.

    This is the effective receptive field, measured once per model by gradients at the middle of a piece of noise: of
    one restored block of ``scale`` × ``scale`` pixels with respect to LR, and of one LR pixel with respect to HR. A
    halo suffices if the absolute gradients outside it sum to at most a quarter of a gray level: values in [0, 1]
    differ by at most 1.

    Args:
        model: a rescaler without a fixed size.
        side: side of the first piece in LR pixels, from 24 to 48. A smaller piece takes less memory; it grows
            until it holds three times the halo.

    Returns:
        At most 24, half the side of the largest piece, also for models that see the whole picture.
    """
    inner = model.unwrapped
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
        # Random signs keep the gradients of the block's pixels from canceling each other systematically.
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
    """Return the smallest distance from the middle beyond which the gradients sum to less than the tolerance."""
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
