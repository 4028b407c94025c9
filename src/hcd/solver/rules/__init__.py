"""Step rules: from one evaluated point to the next candidate. A rule is frozen; its state travels beside it."""

from hcd.solver.rules.adam import Adam
from hcd.solver.rules.base import BudgetSpent, Point, Projection, StepRule
from hcd.solver.rules.conjugate import ConjugateGradient
from hcd.solver.rules.gauss_newton import GaussNewton
from hcd.solver.rules.gradient import NormalizedGradient, SignGradient
from hcd.solver.rules.lbfgs import LBFGS
from hcd.solver.rules.nesterov import Nesterov
from hcd.solver.rules.registry import RULES, get_rule
from hcd.solver.rules.spectral import BarzilaiBorwein

__all__ = [
    "LBFGS",
    "RULES",
    "Adam",
    "BarzilaiBorwein",
    "BudgetSpent",
    "ConjugateGradient",
    "GaussNewton",
    "Nesterov",
    "NormalizedGradient",
    "Point",
    "Projection",
    "SignGradient",
    "StepRule",
    "get_rule",
]
