"""What "as well as possible" means: dissimilarities of a restored picture and its original, pixel by pixel."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from hcd.errors import UsageError, named, unknown_name
from hcd.metrics import ssim_map
from hcd.ops import rgb_to_y


class Loss(ABC):
    """A dissimilarity of two pictures that adds up over pixels, so that tiles can be done one by one."""

    @abstractmethod
    def total(self, hr_hat: Tensor, hr: Tensor) -> Tensor:
        """The sum over pixels, differentiable by ``hr_hat``; 0 where both are equal.

        Args:
            hr_hat, hr: ``[N, 3, H, W]``; ``hr`` in [0, 1].
        """

    @property
    def terms(self) -> tuple[tuple[float, Loss], ...]:
        """What it is a sum of, with weights: a result is worse than another where it is worse by any of these."""
        return ((1.0, self),)

    def is_no_worse(self, hr_hat: Tensor, other: Tensor, hr: Tensor) -> bool:
        """Whether ``hr_hat`` is as near to ``hr`` as ``other`` by every term; a NaN is worse."""
        of, others = ((picture.double(), hr.double()) for picture in (hr_hat, other))
        return all(float(term.total(*of)) <= float(term.total(*others)) for _, term in self.terms)


def _channels(picture: Tensor, channel: str) -> Tensor:
    return rgb_to_y(picture) if channel == "y" else picture


def _check_channel(channel: str) -> None:
    if channel not in ("rgb", "y"):
        raise UsageError(unknown_name("channel", channel, ("rgb", "y")))


@final
@dataclass(frozen=True, kw_only=True)
class SquaredError(Loss):
    """The squared error, averaged over the channels: what PSNR on RGB, or on luma, measures.

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
    """``sqrt(e² + epsilon²) − epsilon``, averaged over RGB: large errors count by size, not by square.

    Args:
        epsilon: errors well below it count by square, > 0; one gray level by default.

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
@dataclass(frozen=True, kw_only=True)
class StructuralDissimilarity(Loss):
    """``1 − SSIM``, windows around every pixel, pictures continued by their border pixels.

    Departs: the reported SSIM takes windows inside the picture alone. In tiles, every tile ends like a picture.

    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004.
    """

    channel: Literal["rgb", "y"] = "y"

    def __post_init__(self) -> None:
        _check_channel(self.channel)

    def total(self, hr_hat: Tensor, hr: Tensor) -> Tensor:
        similarity = ssim_map(_channels(hr_hat, self.channel), _channels(hr, self.channel))
        return (1 - similarity).sum() / similarity.shape[1]


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
            raise UsageError("Mixed: needs at least one loss that counts, and finite weights of 0 or more")

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
    # 0.01 makes both parts of like size at 30 to 40 dB.
    "ssim": Mixed(((1.0, SquaredError()), (0.01, StructuralDissimilarity()))),
}
"""Losses by the names that the command line takes."""


def get_loss(name: str) -> Loss:
    """A loss by its name.

    Raises:
        UsageError: unknown name; lists the known ones.
    """
    return named("loss", name, LOSSES)
