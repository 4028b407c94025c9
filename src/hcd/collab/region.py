"""Feasible sets of the samples: a p-norm ball, a box, and a distance from the plain LR."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hcd.ops import project_ball


@dataclass(frozen=True, kw_only=True)
class Region:
    """The samples within ``epsilon`` of ``center``, between ``low`` and ``high``, and within ``radius`` of ``anchor``.

    Attributes:
        center: a point inside all the bounds, any shape.
        norm, epsilon: the ball, see :func:`hcd.ops.project_ball`.
        low, high: bounds of every element; tensors of the center's shape, or scalars.
        anchor, radius: center and radius of a second ball, in root mean square distance; None without one.
    """

    center: Tensor
    norm: str
    epsilon: float
    low: Tensor | float = 0.0
    high: Tensor | float = 1.0
    anchor: Tensor | None = None
    radius: float = math.inf

    def project(self, x: Tensor) -> Tensor:
        """Project onto the ball, then onto the box, then move toward the center until the anchor is near enough.

        The center satisfies every bound, so each step only shortens the perturbation and keeps the bounds before it.
        """
        inside = self.center + project_ball(x - self.center, self.norm, self.epsilon)
        low, high = (torch.as_tensor(bound).to(inside) for bound in (self.low, self.high))
        inside = inside.maximum(low).minimum(high)
        if self.anchor is None or rms(inside - self.anchor) <= self.radius:
            return inside
        share = _share_within(self.center - self.anchor, inside - self.center, self.radius)
        return self.center + share * (inside - self.center)

    def box(self) -> tuple[Tensor, Tensor] | None:
        """Return lower and upper bounds of every element, or None if the ball is not a box."""
        if self.norm != "linf" and math.isfinite(self.epsilon):
            return None
        low, high = (torch.as_tensor(bound).to(self.center) for bound in (self.low, self.high))
        return (self.center - self.epsilon).maximum(low), (self.center + self.epsilon).minimum(high)

    def random_point(self, generator: torch.Generator) -> Tensor:
        """Draw a point of the l2 ball, not yet projected: normal direction, radius uniform in [0, epsilon]."""
        direction = torch.randn(self.center.shape, generator=generator).to(self.center)
        radius = float(torch.rand((), generator=generator)) * self.epsilon
        return self.center + direction * (radius / math.sqrt(float(direction.square().sum())))


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds of the LR image around the plain LR, which the LR stage and the final rounding keep.

    Attributes:
        plain: the plain LR.
        low, high: bounds of every sample.
        radius: largest root mean square distance from the plain LR; infinity for no bound.
    """

    plain: Tensor
    low: Tensor
    high: Tensor
    radius: float

    @classmethod
    def around(cls, plain: Tensor, *, max_change: int | None, min_lr_psnr: float) -> Self:
        """Return the bounds of a largest change in gray levels, and of a least PSNR in dB."""
        change = math.inf if max_change is None else max_change / 255
        return cls(
            plain=plain,
            low=(plain - change).clamp(min=0),
            high=(plain + change).clamp(max=1),
            # No two images are below 0 dB.
            radius=10 ** (-min_lr_psnr / 20) if min_lr_psnr > 0 else math.inf,
        )

    def clip(self, lr: Tensor) -> Tensor:
        """Move an LR image into the bounds."""
        inside = lr.maximum(self.low).minimum(self.high)
        return inside if math.isinf(self.radius) else near(inside, self.plain, self.radius)

    def region(self, center: Tensor, norm: str, epsilon: float) -> Region:
        """Return the ball around a center, cut by the bounds; the center is moved into them first."""
        return Region(
            center=self.clip(center),
            norm=norm,
            epsilon=epsilon,
            low=self.low,
            high=self.high,
            anchor=None if math.isinf(self.radius) else self.plain,
            radius=self.radius,
        )


def near(x: Tensor, anchor: Tensor, radius: float) -> Tensor:
    """Move ``x`` toward ``anchor`` until their root mean square distance is at most ``radius``."""
    distance = rms(x - anchor)
    return x if distance <= radius else anchor + (radius / distance) * (x - anchor)


def rms(x: Tensor) -> float:
    """Return the root mean square, computed in float64."""
    return math.sqrt(float(x.double().square().mean()))


def _share_within(start: Tensor, move: Tensor, radius: float) -> float:
    """Return the largest t in [0, 1] for which the root mean square of ``start + t · move`` is at most ``radius``."""
    a = float(move.double().square().mean())
    b = float((start.double() * move).mean())
    c = float(start.double().square().mean()) - radius**2
    # The last factor leaves room for float32 rounding.
    return max(0.0, (-b + math.sqrt(max(0.0, b * b - a * c))) / a * (1 - 1e-6)) if a > 0 else 0.0
