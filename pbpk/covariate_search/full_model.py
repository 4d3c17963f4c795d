"""The full model: every relation at once, each judged within it, without a search (Gastonguay 2011, PAGE 20 abstract 2229).

For each relation the Wald test from the covariance of the estimates, and the likelihood ratio from a refit without it. As
nothing is chosen by looking, intervals keep their meaning; what a relation amounts to is read from them (forest.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.covariate_search.result import FULL, RelationTrial
from pbpk.covariate_search.stepwise import make_trial
from pbpk.errors import ScienceFailed
from pbpk.estimation.criteria import chi2_tail

if TYPE_CHECKING:
    from pbpk.covariate_search.candidates import CandidateRelation
    from pbpk.covariate_search.fitted_models import SubmodelFits
    from pbpk.covariate_search.refit import SubmodelFit

WALD_COLUMNS = ("relation", "df", "wald", "wald_p", "delta_ofv", "p", "status", "cause")


def fit_full_model(
    submodels: SubmodelFits, base: SubmodelFit
) -> tuple[tuple[CandidateRelation, ...], SubmodelFit, list[RelationTrial]]:
    """Fit the model with all relations, and it without each of them: the relations, the fit, and a trial for each.

    Raises `ScienceFailed` where the model with all relations does not converge.
    """
    candidates = submodels.enlarged.candidates
    submodels.callbacks.on_step("the full model, then it without each relation", 1 + len(candidates))
    fitted = submodels.fit_submodel(candidates, (), base)
    if not fitted.converged:
        raise ScienceFailed(
            f"the full model did not converge ({fitted.cause})",
            where=submodels.enlarged.base.name,
            hint="ask for fewer relations, or search stepwise:  --method scm",
        )
    rows = []
    for c in candidates:
        without = submodels.fit_submodel(tuple(o for o in candidates if o is not c), candidates, fitted)
        head = RelationTrial(1, FULL, c.name, c.df)
        errors = submodels.compute_coefficient_errors(c, candidates, fitted)
        rows.append(
            make_trial(head, without, without.ofv - fitted.ofv, 1.0, submodels.list_coefficients(c, fitted), errors)
        )
    return candidates, fitted, rows


def build_wald_table(
    submodels: SubmodelFits,
    chosen: tuple[CandidateRelation, ...],
    model: SubmodelFit,
    covariance: np.ndarray | None,
    trials: list[RelationTrial],
) -> pd.DataFrame:
    """The Wald test of each relation of the final model, a row each; the likelihood ratio is that of the last step
    that took it out."""
    names, rows = submodels.problem.structure.layout.names, []
    for c in chosen:
        wald = np.nan
        if covariance is not None:
            positions = [names.index(n) for n in c.coefficients]
            b = np.array(list(submodels.list_coefficients(c, model).values()))
            wald = float(b @ np.linalg.solve(covariance[np.ix_(positions, positions)], b))
        last = next(t for t in reversed(trials) if t.relation == c.name)
        p = chi2_tail(wald, c.df) if np.isfinite(wald) else np.nan
        rows.append((c.name, c.df, wald, p, last.delta_ofv, last.p, last.status, last.cause))
    return pd.DataFrame(rows, columns=pd.Index(WALD_COLUMNS))
