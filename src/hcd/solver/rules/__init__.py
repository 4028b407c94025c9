"""Step rules: from one evaluated point to the next candidate. A rule is frozen; its state travels beside it."""

from hcd.solver.rules.adam import Adam
from hcd.solver.rules.base import Point, Projection, StepRule
from hcd.solver.rules.conjugate import ConjugateGradient
from hcd.solver.rules.gradient import NormalizedGradient
from hcd.solver.rules.lbfgs import LBFGS
from hcd.solver.rules.registry import RULES, get_rule

__all__ = [
    "LBFGS",
    "RULES",
    "Adam",
    "ConjugateGradient",
    "NormalizedGradient",
    "Point",
    "Projection",
    "StepRule",
    "get_rule",
]
