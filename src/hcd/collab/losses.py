"""Losses: dissimilarities of a restored image and its original, summed over pixels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from hcd.errors import UsageError, named, unknown_name
from hcd.ops import rgb_to_y


class Loss(ABC):
    """A dissimilarity of two images that is a sum over pixels, so that tiles can be evaluated one by one."""

    @abstractmethod
    def total(self, hr_hat: Tensor, hr: Tensor) -> Tensor:
        """Return the sum over pixels, differentiable by ``hr_hat``; 0 for equal images.

        Args:
            hr_hat, hr: ``[N, 3, H, W]``; ``hr`` in [0, 1].
        """

    @property
    def terms(self) -> tuple[tuple[float, Loss], ...]:
        """The weighted terms of the sum. A result is worse than another if it is worse by any of them."""
        return ((1.0, self),)


def _channels(picture: Tensor, channel: str) -> Tensor:
    return rgb_to_y(picture) if channel == "y" else picture


def _check_channel(channel: str) -> None:
    if channel not in ("rgb", "y"):
        raise UsageError(unknown_name("channel", channel, ("rgb", "y")))


@final
@dataclass(frozen=True, kw_only=True)
class SquaredError(Loss):
    """Squared error, averaged over the channels, as PSNR on RGB or on luma measures it.

    Source: Xu et al., ICCV 2023 (arXiv 2211.10643), equations 3 and 4, for RGB.
    """

    channel: Literal["rgb", "y"] = "rgb"

    def __post_init__(self) -> None:
        _check_channel(self.channel)

    def total(self, hr_hat: Tensor, hr: Tensor) -> Tensor:
        error = _channels(hr_hat, self.channel) - _channels(hr, self.channel)
        return error.square().sum() / error.shape[1]


@final
@dataclass(frozen=True, kw_only=True)
class Charbonnier(Loss):
    """``sqrt(e² + epsilon²) − epsilon``, averaged over RGB: linear in large errors, quadratic in small ones.

    Args:
        epsilon: where the loss turns from quadratic to linear, > 0; one gray level by default.

    Source: P. Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed
    imaging", ICIP 1994.
    """

    epsilon: float = 1 / 255

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf:
            raise UsageError(f"epsilon {self.epsilon}: must be greater than 0, and finite")

    def total(self, hr_hat: Tensor, hr: Tensor) -> Tensor:
        error = hr_hat - hr
        return ((error.square() + self.epsilon**2).sqrt() - self.epsilon).sum() / error.shape[1]


@final
@dataclass(frozen=True)
class Mixed(Loss):
    """A weighted sum of losses.

    Args:
        parts: pairs of weight (≥ 0) and loss.
    """

    parts: tuple[tuple[float, Loss], ...]

    def __post_init__(self) -> None:
        weights = [weight for weight, _ in self.parts]
        if not any(weights) or not all(0 <= weight < math.inf for weight in weights):
            raise UsageError("Mixed: needs at least one weight above 0, and finite weights of 0 or more")

    def total(self, hr_hat: Tensor, hr: Tensor) -> Tensor:
        return torch.stack([weight * loss.total(hr_hat, hr) for weight, loss in self.parts]).sum()

    @property
    def terms(self) -> tuple[tuple[float, Loss], ...]:
        return tuple((weight * inner, term) for weight, loss in self.parts if weight for inner, term in loss.terms)


LOSSES: dict[str, Loss] = {
    "rgb": SquaredError(),
    "y": SquaredError(channel="y"),
    "rgb+y": Mixed(((0.5, SquaredError()), (0.5, SquaredError(channel="y")))),
    "charbonnier": Charbonnier(),
}
"""Losses by name, as the command line takes them."""


def get_loss(name: str) -> Loss:
    """Return the loss of this name.

    Raises:
        UsageError: unknown name; the message lists the known ones.
    """
    return named("loss", name, LOSSES)
