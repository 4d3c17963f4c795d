"""Which methods suit which endpoints: said before any computing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbpk.errors import WrongUsage
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


def require_continuous(problem: Problem, method: str, quantified: bool = False) -> None:
    """Raises `WrongUsage` where an endpoint has no mean to linearise: a count, a grade, an event; with `quantified`, one with
    values beyond a limit too."""
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
