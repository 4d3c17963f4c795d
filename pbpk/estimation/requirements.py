"""Which methods suit which studies: said before any computing, from what a method says that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pbpk.errors import WrongUsage
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


class Requirements(NamedTuple):
    """What a method asks of a study: `continuous_endpoints` have a mean to linearise (no counts, grades or events);
    `quantified_values` do not lie beyond a limit of quantification; `random_effects` are there to be drawn; with `no_mixture`
    all subjects belong to one population."""

    continuous_endpoints: bool = False
    quantified_values: bool = False
    random_effects: bool = False
    no_mixture: bool = False


def check_requirements(method: str, requirements: Requirements, problem: Problem) -> None:
    """Raises `WrongUsage` where the study lacks what the method called `method` needs, or has what it cannot take."""
    if requirements.continuous_endpoints:
        _require_continuous(method, requirements.quantified_values, problem)
    if requirements.random_effects and not problem.structure.layout.etas:
        raise WrongUsage(f"{method} draws random effects, and this study has none", hint="use pooled")
    if requirements.no_mixture and problem.structure.classes > 1:
        raise WrongUsage(f"{method} does not draw the classes of a mixture", hint="use imp, laplace or focei")


def _require_continuous(method: str, quantified: bool, problem: Problem) -> None:
    """Refuses an endpoint that has no mean to linearise and, with `quantified`, one with values beyond a limit."""
    for e in problem.structure.endpoints:
        censored = quantified and isinstance(e, GaussianEndpoint) and e.has_limits
        if e.is_continuous and not censored:
            continue
        what = "has values beyond a limit of quantification" if censored else "is not a continuous endpoint"
        raise WrongUsage(
            f"`{e.name}` {what}, so {method} cannot linearise it",
            why="a first-order method takes y for normal around the model's prediction",
            hint="--method laplace, agq, imp or saem" + (" (or focei)" if censored else ""),
        )
