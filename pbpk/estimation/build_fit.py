"""A finished estimation as a `Fit`: everything in shown units, with its tables and warnings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units as units_of
from pbpk.estimation.base import CONVERGED, EstimationMethod, EstimationState, IterationRecord
from pbpk.estimation.preflight import find_undetermined, warn_before_fit
from pbpk.estimation.residuals import diagnose_fit, find_post_hoc_etas
from pbpk.estimation.result import Fit, build_parameter_table
from pbpk.likelihood.mixture import class_memberships, class_objectives, select_most_probable_class
from pbpk.likelihood.parameter_layout import ParameterLayout, natural_with_jacobian
from pbpk.observe import find_display_factor, find_observable_unit
from pbpk.study.observed_arrays import is_in_data_unit

if TYPE_CHECKING:
    from pbpk.estimation.standard_errors import StandardErrors
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study


def build_fit(
    study: Study,
    method: EstimationMethod,
    problem: Problem,
    state: EstimationState,
    iterations: list[IterationRecord],
    standard_errors: StandardErrors | None,
    failed_ids: list[str],
    seconds: dict[str, float],
    seed: int,
) -> Fit:
    """`lost` names the subjects whose individual optimum or trajectory was not found at the estimates."""
    layout = problem.structure.layout
    kept = [study.problem.structure.layout.names.index(n) for n in layout.names]
    scale = study.scale[kept]
    units, labels = (tuple(t[i] for i in kept) for t in (study.units, study.labels))
    natural = np.asarray(natural_with_jacobian(layout, state.psi, problem.initial)[0]) / scale
    estimates = dict(zip(layout.names, (float(x) for x in natural), strict=True))

    whole, share = problem, None
    eta = np.asarray(find_post_hoc_etas(problem, state.psi, state.eta)) if method.name == "fo" else state.eta
    if problem.structure.classes > 1:  # from here on each subject is in its most probable class
        share = class_memberships(problem, state.psi, class_objectives(method, problem, state))
        problem, columns = select_most_probable_class(problem, share)
        eta = eta[:, columns]
    found = diagnose_fit(problem, state.psi, eta)
    errors, covariance = convert_standard_errors(layout, standard_errors, scale, study.spec.estimation.standard_errors)
    printed = study.spec.estimation.standard_errors
    warnings = [t for t in standard_errors.problems if printed != "R" or "S matrix" not in t] if standard_errors else []
    warnings += warn_vanished_variances(layout.names, natural, set(layout.etas))
    gone = [] if method.name in ("map", "nuts", "vi") else find_undetermined(study, whole, state)
    warnings += [*gone, *warn_before_fit(whole)]
    warnings += method.list_warnings(whole, state, study.subjects)
    shrinkage = _group_shrinkage(layout, found.eta_shrinkage)
    lognormal = {v.name for v in problem.structure.individual_model.varying if v.distribution == "lognormal"}
    se = errors.get(printed, {})
    logs = {
        t.name: {"estimate": float(np.log(estimates[t.name])), "se": se.get(t.name, np.nan) / estimates[t.name]}
        for t in layout.thetas
        if t.positive and t.bounds is None
    }
    cause = state.status if not failed_ids else f"no individual optimum found for ID {', '.join(failed_ids[:5])}"
    cause = gone[0] if gone and cause == CONVERGED else cause
    return Fit(
        study=study.name,
        model=study.model.name,
        method=method.name,
        ofv=state.ofv,
        subjects=problem.subjects,
        observations=problem.observations,
        quantified=whole.quantified,
        estimates=estimates,
        standard_errors=errors,
        printed_matrix=printed,
        covariance=covariance,
        parameters=build_parameter_table(
            layout, natural, se, units, labels, shrinkage, lognormal, all_fixed=standard_errors is None
        ),
        eta_shrinkage=shrinkage,
        epsilon_shrinkage=found.epsilon_shrinkage,
        individual=_tabulate_individuals(study, problem, found, share),
        table=_tabulate_observations(study, problem, found),
        iterations=tuple(iterations),
        successful=cause == CONVERGED,
        cause=cause,
        warnings=tuple(warnings),
        seconds=seconds,
        solver=problem.structure.solver.name,
        seed=seed,
        condition_number=standard_errors.condition_number if standard_errors else float("nan"),
        log_estimates=logs,
        observable_units={
            e.name: (
                study.spec.data.units.get("DV")
                or find_observable_unit(problem.structure.system, study.model.parameters, e.observable)
            )
            if is_in_data_unit(study.spec.error[e.name])
            else ""
            for e in problem.structure.endpoints
        },
        options=study.model.options,
    )


def convert_standard_errors(
    layout: ParameterLayout, estimated: StandardErrors | None, scale: np.ndarray, printed: str
) -> tuple[dict[str, dict[str, float]], pd.DataFrame]:
    """Standard errors by matrix and name, and the printed matrix's covariance, in shown units; held parameters left out."""
    free = [n for n, held in zip(layout.names, layout.fixed_mask, strict=True) if not held]
    at = [layout.names.index(n) for n in free]
    covariance = pd.DataFrame(index=pd.Index(free), columns=pd.Index(free), dtype=float)
    errors: dict[str, dict[str, float]] = {}
    for matrix, cov in (estimated.covariance if estimated else {}).items():
        shown = (cov / np.outer(scale, scale))[np.ix_(at, at)]
        errors[matrix] = dict(zip(free, (float(x) for x in np.sqrt(np.diag(shown))), strict=True))
        if matrix == printed:
            covariance = pd.DataFrame(shown, index=pd.Index(free), columns=pd.Index(free))
    return errors, covariance


def warn_vanished_variances(names: tuple[str, ...], natural: np.ndarray, etas: set[str]) -> list[str]:
    gone = [
        n
        for n, v in zip(names, natural, strict=True)
        if n.removeprefix("OMEGA_") in etas and "OMEGA_" in n and v < 1e-5
    ]
    return [f"{', '.join(gone)} went to zero: leave that random effect out"] if gone else []


def _group_shrinkage(layout: ParameterLayout, found: np.ndarray) -> dict[str, float]:
    """By random effect; those of all occasions together as `IOV_CL`."""
    by_eta = dict(zip(layout.etas, (float(x) for x in found), strict=True))
    out = {}
    for block in layout.blocks:
        for e in block.etas:
            each = [by_eta[f"{e}@{k}"] for k in range(1, block.occasions + 1)] if block.occasions else [by_eta[e]]
            out[f"IOV_{e}" if block.occasions else e] = float(np.mean(each))
    return out


def _tabulate_individuals(study: Study, problem: Problem, found, share: np.ndarray | None) -> pd.DataFrame:
    """patab: ID, each varying parameter in its own unit (at the first record), the η, and a mixture's class and its
    probabilities."""
    out = pd.DataFrame({"ID": study.subjects})
    system = problem.structure.system
    for v in problem.structure.individual_model.varying:
        row = study.model.parameters[v.name]
        out[v.name] = found.parameters[system.parameter_index(v.name)] / replace(row, value=1.0).internal
    for i, name in enumerate(problem.structure.layout.etas):
        out[f"ETA_{name}"] = found.eta[i]
    if share is not None:
        out["CLASS"] = share.argmax(axis=0) + 1
        for k, p in enumerate(share, start=1):
            out[f"P_{k}"] = p
    return out


def _tabulate_observations(study: Study, problem: Problem, found) -> pd.DataFrame:
    """sdtab: one line per observation; TIME, DV and predictions in the units of the data."""
    frame = study.events.frame
    observed = frame[frame["MDV"] == 0]
    order = np.concatenate([np.flatnonzero(problem.observed_mask[:, i]) for i in range(problem.subjects)])
    who = np.repeat(np.arange(problem.subjects), problem.observed_mask.sum(axis=0))
    pick = (order, who)
    given = study.spec.data.units
    dvid = observed["DVID"].to_numpy()
    factor = {n: _find_data_unit(study, n) for n in set(dvid)}
    shown = np.array([factor[n] for n in dvid])
    dv = observed["DV"].to_numpy() / shown
    censored = observed["CENS"].to_numpy()
    return pd.DataFrame(
        {
            "ID": observed["ID"].to_numpy(),
            "TIME": observed["TIME"].to_numpy() / units_of.unit_factor(given.get("TIME", "h")),
            "DVID": dvid,
            "DV": dv,
            "PRED": found.pred[pick] / shown,
            "IPRED": found.ipred[pick] / shown,
            "RES": dv - found.pred[pick] / shown,
            "IWRES": found.iwres[pick],
            "CWRES": found.cwres[pick],
        }
        | ({"CENS": censored} if censored.any() else {})
    )


def _find_data_unit(study: Study, name: str) -> float:
    """How many coherent units one unit of the table's DV is."""
    part, model, given = study.spec.error[name], study.model, study.spec.data.units
    if not is_in_data_unit(part):
        return 1.0
    return (
        units_of.unit_factor(given["DV"])
        if "DV" in given
        else find_display_factor(model.system, model.parameters, part.observable or name)
    )
