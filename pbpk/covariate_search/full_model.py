"""The full model: every relation at once, each judged within it, without a search (Gastonguay 2011, PAGE 20 abstract 2229).

For each relation the Wald test from the covariance of the estimates, and the likelihood ratio from a refit without it. As
nothing is chosen by looking, intervals keep their meaning; what a relation amounts to is read from them (forest.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.covariate_search.result import FULL, Trial
from pbpk.covariate_search.stepwise import _row
from pbpk.errors import ScienceFailed
from pbpk.estimation.criteria import chi2_tail

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import Candidate
    from pbpk.covariate_search.fitted_models import Models
    from pbpk.covariate_search.refit import Fitted

COLUMNS = ("relation", "df", "wald", "wald_p", "delta_ofv", "p", "status", "cause")


def full_model(models: Models, base: Fitted) -> tuple[tuple[Candidate, ...], Fitted, list[Trial]]:
    """Raises `ScienceFailed` where the model with all relations does not converge."""
    every = models.enlarged.candidates
    models.watch.step("the full model, then it without each relation", 1 + len(every))
    found = models.fit(every, (), base)
    if not found.converged:
        raise ScienceFailed(
            f"the full model did not converge ({found.cause})",
            where=models.enlarged.base.name,
            hint="ask for fewer relations, or search stepwise:  --method scm",
        )
    rows = []
    for c in every:
        without = models.fit(tuple(o for o in every if o is not c), every, found)
        head = Trial(1, FULL, c.name, c.df)
        errors = models.errors(c, every, found)
        rows.append(_row(head, without, without.ofv - found.ofv, 1.0, models.values(c, found), errors))
    return every, found, rows


def wald_tests(
    models: Models, chosen: tuple[Candidate, ...], model: Fitted, covariance: np.ndarray | None, trials: list[Trial]
) -> pd.DataFrame:
    """A row for each relation of the final model; the likelihood ratio is that of the last step that took it out."""
    names, rows = models.problem.structure.layout.names, []
    for c in chosen:
        wald = np.nan
        if covariance is not None:
            at = [names.index(n) for n in c.coefficients]
            b = np.array(list(models.values(c, model).values()))
            wald = float(b @ np.linalg.solve(covariance[np.ix_(at, at)], b))
        last = next(t for t in reversed(trials) if t.relation == c.name)
        p = chi2_tail(wald, c.df) if np.isfinite(wald) else np.nan
        rows.append((c.name, c.df, wald, p, last.delta_ofv, last.p, last.status, last.cause))
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))
