"""Projected descent on any differentiable objective. Knows no network and no picture."""

from hcd.solver.descend import Projection, Solution, Stopped, descend
from hcd.solver.rules import LBFGS, NormalizedGradient, Point, StepRule

__all__ = ["LBFGS", "NormalizedGradient", "Point", "Projection", "Solution", "StepRule", "Stopped", "descend"]
