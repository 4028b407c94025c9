"""Names of the step rules, with settings that suit pictures: values in [0, 1], a gray level is 1/255."""

from __future__ import annotations

from hcd.errors import named
from hcd.solver.rules.adam import Adam
from hcd.solver.rules.base import StepRule
from hcd.solver.rules.conjugate import ConjugateGradient
from hcd.solver.rules.gauss_newton import GaussNewton
from hcd.solver.rules.gradient import NormalizedGradient, SignGradient
from hcd.solver.rules.lbfgs import LBFGS
from hcd.solver.rules.nesterov import Nesterov
from hcd.solver.rules.spectral import BarzilaiBorwein

RULES: dict[str, StepRule] = {
    "gradient": NormalizedGradient(),
    "sign": SignGradient(),
    "adam": Adam(),
    "barzilai-borwein": BarzilaiBorwein(),
    "nesterov": Nesterov(),
    "conjugate-gradient": ConjugateGradient(),
    "lbfgs": LBFGS(),
    "gauss-newton": GaussNewton(),
}


def get_rule(name: str) -> StepRule:
    """The step rule of this name with its default settings.

    Raises:
        UsageError: unknown name.
    """
    return named("step rule", name, RULES)
