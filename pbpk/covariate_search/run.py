"""A search from a loaded study, of a run or not, to its result; nothing is printed or written here."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.covariate_search.candidates import Enlarged, enlarge
from pbpk.covariate_search.fitted_models import BASE, Models, Watch
from pbpk.covariate_search.forest import forest
from pbpk.covariate_search.full_model import full_model, wald_tests
from pbpk.covariate_search.refit import Among, Fitted, refit
from pbpk.covariate_search.result import Search
from pbpk.covariate_search.stepwise import stepwise
from pbpk.errors import BadInput, ScienceFailed, WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.estimation.run import check_start

if TYPE_CHECKING:
    from pbpk.covariate_search.options import Plan
    from pbpk.estimation.base import EstimationMethod
    from pbpk.study.load import Study


def search(study: Study, plan: Plan, watch: Watch | None = None, enlarged: Enlarged | None = None) -> Search:
    """Raises `BadInput` for relations that the data cannot have, `ScienceFailed` where the model without any does not
    converge."""
    begun = time.perf_counter()
    watch = watch or Watch()
    enlarged = enlarged or ready(study, plan)
    method = method_of(study, plan)
    models = Models(enlarged, method, method.prepare(enlarged.study.problem), watch)
    if models.problem.structure.layout != enlarged.study.problem.structure.layout:
        raise WrongUsage(f"{method.name} drops the random effects, so it has no likelihood to compare here")
    base = _base(models, study)
    chosen, model, trials = full_model(models, base) if plan.method == "full" else stepwise(models, plan, base)
    printed = study.spec.estimation.standard_errors
    covariance = models.covariance(chosen, model, printed)
    table = _parameters(models, chosen, model, covariance)
    estimates, errors = (dict(zip(table["name"], table[k], strict=True)) for k in ("estimate", "se"))
    return Search(
        study=study.name,
        model=study.model.name,
        estimation=method.name,
        plan=plan,
        subjects=models.problem.subjects,
        base_ofv=base.ofv,
        final_ofv=model.ofv,
        trials=tuple(trials),
        chosen=chosen,
        parameters=table,
        forest=forest(chosen, enlarged.columns, estimates, errors, plan.bounds, _z(plan.level)),
        tests=wald_tests(models, chosen, model, covariance, trials),
        notes=enlarged.notes,
        warnings=_warnings(method, covariance is None, printed),
        references={c.name: c.reference for c in enlarged.candidates},
        seconds=time.perf_counter() - begun,
    )


def ready(study: Study, plan: Plan) -> Enlarged:
    """The enlarged study, once all that can be refused has been looked at."""
    method_of(study, plan)
    return enlarge(study, plan.read(), plan.references, one_each=plan.method == "full")


def method_of(study: Study, plan: Plan) -> QuasiNewton:
    """The plan's estimation method, the run's, or the study's own."""
    found = get_method(plan.estimation or _recorded(study).get("method") or study.spec.estimation.method)
    found = found.configure(study.spec.estimation, plan.seed)
    if not isinstance(found, QuasiNewton):
        raise WrongUsage(
            f"{found.name} cannot be used in a search",
            why="models are compared by a likelihood with an exact gradient, which these have: focei, foce, fo, laplace, agq",
            hint="--estimation focei",
        )
    return found


def _recorded(study: Study) -> dict:
    """What a finished run's folder holds of its results; nothing for a study."""
    file = study.folder / "results.json"
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError:
        raise BadInput("is not JSON", where=str(file)) from None


def _base(models: Models, study: Study) -> Fitted:
    """The model without candidates: from the run's estimates where there is a run, else from the study's initial values."""
    models.watch.step("the model without candidates", 1)
    found = models.sought(BASE, BASE, lambda: _fit_base(models, study))
    if not found.converged:
        raise ScienceFailed(
            f"the model without candidates did not converge ({found.cause})",
            where=study.name,
            why="a covariate's ΔOFV against a point that is no minimum has no meaning",
            hint=f"look at it first:  pbpk fit {study.name}",
        )
    return found


def _fit_base(models: Models, study: Study) -> Fitted:
    free, problem = models.enlarged.mask(()), models.problem
    begun = Among(models.method.name, models.method.about, models.method, free).init(problem)
    check_start(study, problem, begun)
    psi = _from_run(models, study)
    if psi is not None and (found := refit(models.method, problem, free, psi, begun.eta)).converged:
        return found
    return refit(models.method, problem, free, begun.psi, begun.eta)


def _from_run(models: Models, study: Study) -> np.ndarray | None:
    """ψ at a run's estimates with every candidate at 0; None where there are none, or one is on its edge."""
    estimates = _recorded(study).get("parameter_estimates")
    if not estimates:
        return None
    whole = models.enlarged.study
    natural = np.asarray(whole.problem.initial, dtype=float).copy()
    for k, name in enumerate(models.problem.structure.layout.names):
        if estimates.get(name) is not None:
            natural[k] = estimates[name] * whole.scale[k]
    try:
        with np.errstate(all="ignore"):
            psi = models.problem.structure.layout.to_unconstrained(natural)
    except np.linalg.LinAlgError:
        return None
    return psi if np.isfinite(psi).all() else None


def _parameters(models: Models, chosen, model: Fitted, covariance: np.ndarray | None) -> pd.DataFrame:
    """Of the final model, in shown units; candidates that are not in it are left out."""
    study, layout = models.enlarged.study, models.problem.structure.layout
    natural = models.natural(model) / study.scale
    gone = {n for c in models.enlarged.candidates if c not in chosen for n in c.coefficients}
    se = np.full(len(natural), np.nan) if covariance is None else np.sqrt(np.diag(covariance)) / study.scale
    se = np.where(layout.fixed_mask, np.nan, se)
    rows = [
        (
            name,
            study.labels[k],
            study.units[k],
            natural[k],
            se[k],
            100 * se[k] / abs(natural[k]) if natural[k] else np.nan,
        )
        for k, name in enumerate(layout.names)
        if name not in gone
    ]
    return pd.DataFrame(rows, columns=pd.Index(["name", "label", "unit", "estimate", "se", "rse"]))


def _warnings(method: EstimationMethod, no_covariance: bool, matrix: str) -> tuple[str, ...]:
    out = []
    if method.inflates_likelihood_ratios:
        out.append(f"By {method.name} the likelihood-ratio test finds too many effects (Wählby, Jonsson & Karlsson 2001).")
    if no_covariance:
        out.append(f"The {matrix} matrix of the final model is singular, so its effects have no standard errors.")
    return tuple(out)


def _z(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))
