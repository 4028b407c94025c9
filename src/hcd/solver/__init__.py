"""Projected descent on any differentiable objective. Knows no network and no picture."""

from hcd.solver.descend import Curvature, Solution, Stopped, descend
from hcd.solver.rules import (
    LBFGS,
    RULES,
    Adam,
    BarzilaiBorwein,
    BudgetSpent,
    ConjugateGradient,
    GaussNewton,
    Nesterov,
    NormalizedGradient,
    Point,
    Projection,
    SignGradient,
    StepRule,
    get_rule,
)

__all__ = [
    "LBFGS",
    "RULES",
    "Adam",
    "BarzilaiBorwein",
    "BudgetSpent",
    "ConjugateGradient",
    "Curvature",
    "GaussNewton",
    "Nesterov",
    "NormalizedGradient",
    "Point",
    "Projection",
    "SignGradient",
    "Solution",
    "StepRule",
    "Stopped",
    "descend",
    "get_rule",
]
