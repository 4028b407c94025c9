"""Projected descent on any differentiable objective; knows neither networks nor images."""

from hcd.solver.descend import Solution, Stopped, descend
from hcd.solver.rules import (
    LBFGS,
    RULES,
    Adam,
    ConjugateGradient,
    NormalizedGradient,
    Point,
    Projection,
    StepRule,
    get_rule,
)

__all__ = [
    "LBFGS",
    "RULES",
    "Adam",
    "ConjugateGradient",
    "NormalizedGradient",
    "Point",
    "Projection",
    "Solution",
    "StepRule",
    "Stopped",
    "descend",
    "get_rule",
]
