"""Step rules by name, with defaults that suit images: values in [0, 1], where a gray level is 1/255."""

from __future__ import annotations

from hcd.errors import named
from hcd.solver.rules.adam import Adam
from hcd.solver.rules.base import StepRule
from hcd.solver.rules.conjugate import ConjugateGradient
from hcd.solver.rules.gradient import NormalizedGradient
from hcd.solver.rules.lbfgs import LBFGS

RULES: dict[str, StepRule] = {
    "gradient": NormalizedGradient(),
    "adam": Adam(),
    "conjugate-gradient": ConjugateGradient(),
    "lbfgs": LBFGS(),
}


def get_rule(name: str) -> StepRule:
    """Return the step rule of this name with its default settings.

    Raises:
        UsageError: unknown name; the message lists the known ones.
    """
    return named("step rule", name, RULES)
