"""Runs a covariate search on a loaded study, from a finished run's estimates where there is one. Prints and writes
nothing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.covariate_search.candidates import EnlargedStudy, enlarge_study
from pbpk.covariate_search.fitted_models import BASE_MODEL, SearchCallbacks, SubmodelFits
from pbpk.covariate_search.forest import build_forest_table
from pbpk.covariate_search.full_model import build_wald_table, fit_full_model
from pbpk.covariate_search.refit import RestrictedMethod, SubmodelFit, refit_submodel
from pbpk.covariate_search.result import CovariateSearchResult
from pbpk.covariate_search.stepwise import search_stepwise
from pbpk.errors import BadInput, ScienceFailed, WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.estimation.run import check_start

if TYPE_CHECKING:
    from pbpk.covariate_search.options import CovariateSearchOptions
    from pbpk.estimation.base import EstimationMethod
    from pbpk.study.load import Study


def search_covariates(
    study: Study,
    options: CovariateSearchOptions,
    callbacks: SearchCallbacks | None = None,
    enlarged: EnlargedStudy | None = None,
) -> CovariateSearchResult:
    """Search for covariate effects in a loaded study; `enlarged` saves preparing it twice.

    Raises `BadInput` for relations that the data cannot have, `ScienceFailed` where the model without any does not converge.
    """
    started = time.perf_counter()
    callbacks = callbacks or SearchCallbacks()
    enlarged = enlarged or prepare_search(study, options)
    method = choose_method(study, options)
    submodels = SubmodelFits(enlarged, method, method.prepare(enlarged.study.problem), callbacks)
    if submodels.problem.structure.layout != enlarged.study.problem.structure.layout:
        raise WrongUsage(f"{method.name} drops the random effects, so it has no likelihood to compare here")
    base = _get_base_fit(submodels, study)
    chosen, model, trials = (
        fit_full_model(submodels, base) if options.method == "full" else search_stepwise(submodels, options, base)
    )
    printed = study.spec.estimation.standard_errors
    covariance = submodels.compute_covariance(chosen, model, printed)
    table = _build_parameter_table(submodels, chosen, model, covariance)
    estimates, errors = (dict(zip(table["name"], table[k], strict=True)) for k in ("estimate", "se"))
    return CovariateSearchResult(
        study=study.name,
        model=study.model.name,
        estimation=method.name,
        options=options,
        subjects=submodels.problem.subjects,
        base_ofv=base.ofv,
        final_ofv=model.ofv,
        trials=tuple(trials),
        chosen=chosen,
        parameters=table,
        forest=build_forest_table(
            chosen, enlarged.columns, estimates, errors, options.bounds, _count_standard_errors(options.level)
        ),
        tests=build_wald_table(submodels, chosen, model, covariance, trials),
        notes=enlarged.notes,
        warnings=_list_warnings(method, covariance is None, printed),
        references={c.name: c.reference for c in enlarged.candidates},
        seconds=time.perf_counter() - started,
    )


def prepare_search(study: Study, options: CovariateSearchOptions) -> EnlargedStudy:
    """The enlarged study, after everything that can be refused without fitting is checked. Raises `BadInput`,
    `WrongUsage`."""
    choose_method(study, options)
    return enlarge_study(
        study, options.check_and_read_relations(), options.references, require_distinct=options.method == "full"
    )


def choose_method(study: Study, options: CovariateSearchOptions) -> QuasiNewton:
    """The estimation method of the options, else of the run, else of the study. Raises `WrongUsage` for one without a
    likelihood
    and its exact gradient."""
    method = get_method(
        options.estimation or _read_recorded_results(study).get("method") or study.spec.estimation.method
    )
    method = method.configure(study.spec.estimation, options.seed)
    if not isinstance(method, QuasiNewton):
        raise WrongUsage(
            f"{method.name} cannot be used in a search",
            why="models are compared by a likelihood with an exact gradient, which these have: focei, foce, fo, laplace, agq",
            hint="--estimation focei",
        )
    return method


def _read_recorded_results(study: Study) -> dict:
    """The results.json of a finished run; empty for a study."""
    file = study.folder / "results.json"
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError:
        raise BadInput("is not JSON", where=str(file)) from None


def _get_base_fit(submodels: SubmodelFits, study: Study) -> SubmodelFit:
    """The model without candidates: from the run's estimates where there is a run, else from the study's initial values."""
    submodels.callbacks.on_step("the model without candidates", 1)
    fitted = submodels.reuse_or_fit(BASE_MODEL, BASE_MODEL, lambda: _fit_base_model(submodels, study))
    if not fitted.converged:
        raise ScienceFailed(
            f"the model without candidates did not converge ({fitted.cause})",
            where=study.name,
            why="a covariate's ΔOFV against a point that is no minimum has no meaning",
            hint=f"look at it first:  pbpk fit {study.name}",
        )
    return fitted


def _fit_base_model(submodels: SubmodelFits, study: Study) -> SubmodelFit:
    """Fit the model without candidates from the run's estimates; where that fails, from the initial values."""
    free, problem = submodels.enlarged.mask_estimated(()), submodels.problem
    start = RestrictedMethod(submodels.method.name, submodels.method.about, submodels.method, free).init(problem)
    check_start(study, problem, start)
    psi = _read_run_estimates(submodels, study)
    if psi is not None and (fitted := refit_submodel(submodels.method, problem, free, psi, start.eta)).converged:
        return fitted
    return refit_submodel(submodels.method, problem, free, start.psi, start.eta)


def _read_run_estimates(submodels: SubmodelFits, study: Study) -> np.ndarray | None:
    """ψ at a run's estimates with every candidate at 0; None where there are none, or one is on its edge."""
    estimates = _read_recorded_results(study).get("parameter_estimates")
    if not estimates:
        return None
    enlarged_study = submodels.enlarged.study
    natural = np.asarray(enlarged_study.problem.initial, dtype=float).copy()
    for k, name in enumerate(submodels.problem.structure.layout.names):
        if estimates.get(name) is not None:
            natural[k] = estimates[name] * enlarged_study.scale[k]
    try:
        with np.errstate(all="ignore"):
            psi = submodels.problem.structure.layout.to_unconstrained(natural)
    except np.linalg.LinAlgError:
        return None
    return psi if np.isfinite(psi).all() else None


def _build_parameter_table(
    submodels: SubmodelFits, chosen, model: SubmodelFit, covariance: np.ndarray | None
) -> pd.DataFrame:
    """The parameters of the final model, in shown units; coefficients of candidates that are not in it are left out."""
    study, layout = submodels.enlarged.study, submodels.problem.structure.layout
    natural = submodels.convert_to_natural(model) / study.scale
    left_out = {n for c in submodels.enlarged.candidates if c not in chosen for n in c.coefficients}
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
        if name not in left_out
    ]
    return pd.DataFrame(rows, columns=pd.Index(["name", "label", "unit", "estimate", "se", "rse"]))


def _list_warnings(method: EstimationMethod, no_covariance: bool, matrix: str) -> tuple[str, ...]:
    """What a reader of the result must know, a sentence each."""
    warnings = []
    if method.inflates_likelihood_ratios:
        warnings.append(
            f"By {method.name} the likelihood-ratio test finds too many effects (Wählby, Jonsson & Karlsson 2001)."
        )
    if no_covariance:
        warnings.append(f"The {matrix} matrix of the final model is singular, so its effects have no standard errors.")
    return tuple(warnings)


def _count_standard_errors(level: float) -> float:
    """How many standard errors to either side a normal interval of this level has."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))
