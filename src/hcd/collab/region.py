"""Where a sample may lie: a ball around its start, and a box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hcd.ops import project_ball


@dataclass(frozen=True, kw_only=True)
class Region:
    """The samples within ``epsilon`` of ``center`` in a p-norm over the whole tensor, and between ``low`` and ``high``.

    Attributes:
        center: a point of the box, any shape.
        norm, epsilon: of the ball, see :func:`hcd.ops.project_ball`.
        low, high: bounds of every element; tensors of the center's shape, or one bound for all.
    """

    center: Tensor
    norm: str
    epsilon: float
    low: Tensor | float = 0.0
    high: Tensor | float = 1.0

    def project(self, x: Tensor) -> Tensor:
        """Onto the ball, then onto the box; since the center lies in the box, that only shortens the perturbation."""
        inside = self.center + project_ball(x - self.center, self.norm, self.epsilon)
        low, high = (torch.as_tensor(bound).to(inside) for bound in (self.low, self.high))
        return inside.maximum(low).minimum(high)

    def random_point(self, generator: torch.Generator) -> Tensor:
        """A point of the l2 ball, before projection: normal direction, radius uniform in [0, epsilon]."""
        direction = torch.randn(self.center.shape, generator=generator).to(self.center)
        radius = float(torch.rand((), generator=generator)) * self.epsilon
        return self.center + direction * (radius / math.sqrt(float(direction.square().sum())))
