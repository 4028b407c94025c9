"""How far a rescaler looks: the halo that its tiles need, measured."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from hcd.rescaler.base import Rescaler

_SIDE = 48  # LR pixels of the measured piece, of which the middle one is asked
# What lies outside the halo may change a pixel by this share of its own range: a quarter of a gray level.
_TOLERANCE = 0.25 / 255
_KNOWN: weakref.WeakKeyDictionary[Rescaler, int] = weakref.WeakKeyDictionary()


def reach_of(model: Rescaler) -> int:
    """The halo in LR pixels beyond which nothing changes a pixel by more than a quarter of a gray level.

    Measured where it counts, on the gradients of the middle of a piece of noise, once per model: of one restored
    block of ``scale`` × ``scale`` pixels with respect to LR, and of one LR pixel with respect to HR. A halo is wide
    enough when the absolute gradients outside it sum to less than a quarter of a gray level over the pixel's
    range, since no pixel there can differ by more than that range.

    Returns:
        At most half the side of the measured piece, 24, for models that look at the whole picture.
    """
    if model not in _KNOWN:
        _KNOWN[model] = max(_up(model), _down(model))
    return _KNOWN[model]


def _up(model: Rescaler) -> int:
    lr = _noise(model, _SIDE)
    with torch.enable_grad():
        block = _middle(model.upscale(lr), _SIDE // 2 * model.scale, model.scale)
        # A random sign per pixel stands for any of them: their gradients cannot cancel each other systematically.
        signs = _noise(model, model.scale).detach().sub(0.5).sign()
        (gradient,) = torch.autograd.grad((block * signs).mean(), lr)
    return _radius(gradient.abs().sum(dim=(0, 1)))


def _down(model: Rescaler) -> int:
    hr = _noise(model, _SIDE * model.scale)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(_middle(model.downscale(hr), _SIDE // 2, 1).mean(), hr)
    blocks = gradient.abs().sum(dim=(0, 1)).reshape(_SIDE, model.scale, _SIDE, model.scale)
    return _radius(blocks.sum(dim=(1, 3)))


def _radius(mass: Tensor) -> int:
    """The smallest distance from the middle beyond which less than the tolerance is left."""
    offsets = (torch.arange(_SIDE, device=mass.device) - _SIDE // 2).abs()
    distance = torch.maximum(offsets[:, None], offsets[None, :])
    outside = [float(mass[distance > radius].sum()) for radius in range(_SIDE // 2 + 1)]
    return next(radius for radius, left in enumerate(outside) if left <= _TOLERANCE)


def _middle(x: Tensor, start: int, side: int) -> Tensor:
    return x[..., start : start + side, start : start + side]


def _noise(model: Rescaler, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    like = next(model.parameters(), torch.empty(0))
    return torch.rand(1, 3, side, side, generator=generator).to(like).requires_grad_()
