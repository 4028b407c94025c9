"""Where a sample may lie: a ball around its start, a box, and a distance from the plain LR."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hcd.ops import GRAY_LEVEL, project_ball, project_mean_ball, quantize


@dataclass(frozen=True, kw_only=True)
class Region:
    """The samples within ``epsilon`` of ``center``, between ``low`` and ``high``, and within ``radius`` of ``anchor``.

    Attributes:
        center: a point that keeps all the bounds, any shape (``[1, C, H, W]`` unless ``over`` is ``tensor``).
        norm, epsilon, over: of the ball. ``tensor``: norm over the whole tensor, see :func:`hcd.ops.project_ball`;
            else a mean over groups in gray levels, see :func:`hcd.ops.project_mean_ball`.
        low, high: bounds of every element; tensors of the center's shape, or one bound for all.
        anchor, radius: center and radius of a second ball, whose norm is the root mean square; None for none.
    """

    center: Tensor
    norm: str
    epsilon: float
    over: str = "tensor"
    low: Tensor | float = 0.0
    high: Tensor | float = 1.0
    anchor: Tensor | None = None
    radius: float = math.inf

    def project(self, x: Tensor) -> Tensor:
        """Onto the ball, then onto the box, then straight towards the center until it is near the anchor.

        Since the center lies in all of them, each only shortens the perturbation and undoes nothing of the others.
        """
        inside = self.center + self._in_ball(x - self.center)
        low, high = (torch.as_tensor(bound).to(inside) for bound in (self.low, self.high))
        inside = inside.maximum(low).minimum(high)
        if self.anchor is None or _rms(inside - self.anchor) <= self.radius:
            return inside
        share = _share_within(self.center - self.anchor, inside - self.center, self.radius)
        return self.center + share * (inside - self.center)

    def box(self) -> tuple[Tensor, Tensor] | None:
        """Lowest and highest value of every element, where ball and box are nothing but these."""
        if self.norm != "linf" and math.isfinite(self.epsilon):
            return None
        epsilon = self.epsilon if self.over == "tensor" else self.epsilon * GRAY_LEVEL
        low, high = (torch.as_tensor(bound).to(self.center) for bound in (self.low, self.high))
        return (self.center - epsilon).maximum(low), (self.center + epsilon).minimum(high)

    def random_point(self, generator: torch.Generator) -> Tensor:
        """A point of the l2 ball, before projection: normal direction, radius uniform in [0, epsilon]."""
        direction = torch.randn(self.center.shape, generator=generator).to(self.center)
        radius = float(torch.rand((), generator=generator)) * self.epsilon
        return self.center + direction * (radius / math.sqrt(float(direction.square().sum())))

    def _in_ball(self, perturbation: Tensor) -> Tensor:
        if self.over == "tensor":
            return project_ball(perturbation, self.norm, self.epsilon)
        return project_mean_ball(perturbation, self.norm, self.epsilon * GRAY_LEVEL, self.over)


@dataclass(frozen=True, kw_only=True)
class JointRegion:
    """Two samples that move together, in one vector: an HR sample, and an offset of the LR sample.

    Attributes:
        hr, offset: where each may lie.
    """

    hr: Region
    offset: Region

    def join(self, hr: Tensor, offset: Tensor) -> Tensor:
        return torch.cat([hr.flatten(), offset.flatten()])

    def split(self, joint: Tensor) -> tuple[Tensor, Tensor]:
        """The HR sample and the offset, in their shapes."""
        count = self.hr.center.numel()
        return joint[:count].reshape(self.hr.center.shape), joint[count:].reshape(self.offset.center.shape)

    def project(self, joint: Tensor) -> Tensor:
        hr, offset = self.split(joint)
        return self.join(self.hr.project(hr), self.offset.project(offset))

    def random_point(self, generator: torch.Generator) -> Tensor:
        """A point of both l2 balls, before projection, each as of its region."""
        return self.join(self.hr.random_point(generator), self.offset.random_point(generator))

    def box(self) -> tuple[Tensor, Tensor] | None:
        hr, offset = self.hr.box(), self.offset.box()
        if hr is None or offset is None:
            return None
        return self.join(hr[0], offset[0]), self.join(hr[1], offset[1])


def near(x: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """``x``, or the point on the way to ``anchor`` whose root mean square distance from it is ``radius``."""
    distance = _rms(x - anchor)
    return x if distance <= radius else anchor + (radius / distance) * (x - anchor)


def round_within(x: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """``x`` in whole gray levels, moved towards ``anchor`` until the root mean square distance is at most ``radius``.

    Args:
        anchor: whole gray levels, in [0, 1].
    """
    rounded = quantize(x)
    while _rms(rounded - anchor) > radius:
        x = anchor + 0.98 * (x - anchor)
        rounded = quantize(x)
    return rounded


def _rms(x: Tensor) -> float:
    return math.sqrt(float(x.double().square().mean()))


def _share_within(start: Tensor, move: Tensor, radius: float) -> float:
    """The largest t in [0, 1] for which the root mean square of ``start + t · move`` is at most ``radius``."""
    a = float(move.double().square().mean())
    b = float((start.double() * move).mean())
    c = float(start.double().square().mean()) - radius**2
    # Less than all of it by what float32 may add again.
    return max(0.0, (-b + math.sqrt(max(0.0, b * b - a * c))) / a * (1 - 1e-6)) if a > 0 else 0.0
