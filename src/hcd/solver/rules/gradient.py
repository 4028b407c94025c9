"""Normalized gradient descent: steps of a fixed Euclidean length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from hcd.errors import UsageError
from hcd.solver.rules.base import Point, StepRule
from hcd.solver.rules.moves import is_sound


@final
@dataclass(frozen=True, kw_only=True)
class NormalizedGradient(StepRule):
    """A step of fixed length against the gradient: ``x − step_size · g / ‖g‖₂``, norm over the whole tensor.

    If the value or gradient at the new point is not finite, the step is halved.

    Args:
        step_size: Euclidean length of the step, in the units of ``x``, > 0.

    Source: Xu et al., "Hierarchical Collaborative Downscaling", ICCV 2023 (arXiv 2211.10643), algorithm 1.
    """

    step_size: float = 20 / 255

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise UsageError(f"step_size {self.step_size}: must be greater than 0")

    def init(self) -> Tensor | None:
        return None

    def step(self, point: Point, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # The state is the last point with a finite value and gradient.
        if not is_sound(point):
            return (point.x if state is None else torch.lerp(state, point.x, 0.5)), state
        length = torch.linalg.vector_norm(point.gradient)
        if length == 0:
            return point.x, point.x
        return point.x - self.step_size / length * point.gradient, point.x
