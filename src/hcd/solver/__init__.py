"""Projected descent on any differentiable objective. Knows no network and no picture."""

from hcd.solver.descend import Projection, Solution, descend
from hcd.solver.rules import LBFGS, NormalizedGradient, Point, StepRule

__all__ = ["LBFGS", "NormalizedGradient", "Point", "Projection", "Solution", "StepRule", "descend"]
