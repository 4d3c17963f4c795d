"""A finished estimation as a `Fit`: everything in shown units, with its tables and warnings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units as units_of
from pbpk.estimation.base import CONVERGED, Info, Method, State
from pbpk.estimation.preflight import beforehand, undetermined
from pbpk.estimation.residuals import diagnose, post_hoc
from pbpk.estimation.result import Fit, parameter_table
from pbpk.likelihood.mixture import class_objectives, memberships, most_probable
from pbpk.likelihood.parameter_layout import Layout, natural_with_jacobian
from pbpk.observe import display_factor, observable_unit
from pbpk.study.observed_arrays import in_unit_of_data

if TYPE_CHECKING:
    from pbpk.estimation.standard_errors import Uncertainty
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study


def collect(
    study: Study,
    method: Method,
    problem: Problem,
    state: State,
    infos: list[Info],
    estimated: Uncertainty | None,
    lost: list[str],
    seconds: dict[str, float],
    seed: int,
) -> Fit:
    """`lost` names the subjects whose individual optimum or trajectory was not found at the estimates."""
    layout = problem.spec.layout
    kept = [study.problem.spec.layout.names.index(n) for n in layout.names]
    scale = study.scale[kept]
    units, labels = (tuple(t[i] for i in kept) for t in (study.units, study.labels))
    natural = np.asarray(natural_with_jacobian(layout, state.psi, problem.initial)[0]) / scale
    estimates = dict(zip(layout.names, (float(x) for x in natural), strict=True))

    whole, share = problem, None
    eta = np.asarray(post_hoc(problem, state.psi, state.eta)) if method.name == "fo" else state.eta
    if problem.spec.classes > 1:  # from here on each subject is in its most probable class
        share = memberships(problem, state.psi, class_objectives(method, problem, state))
        problem, columns = most_probable(problem, share)
        eta = eta[:, columns]
    found = diagnose(problem, state.psi, eta)
    errors, covariance = _standard_errors(layout, estimated, scale, study.spec.estimation.standard_errors)
    printed = study.spec.estimation.standard_errors
    warnings = [t for t in estimated.trouble if printed != "R" or "S matrix" not in t] if estimated else []
    warnings += _at_edge(layout.names, natural, set(layout.etas))
    gone = [] if method.name in ("map", "nuts", "vi") else undetermined(study, whole, state)
    warnings += [*gone, *beforehand(whole)]
    warnings += method.remarks(whole, state, study.subjects)
    shrinkage = _shrinkage(layout, found.eta_shrinkage)
    lognormal = {v.name for v in problem.spec.individual.varying if v.distribution == "lognormal"}
    se = errors.get(printed, {})
    logs = {
        t.name: {"estimate": float(np.log(estimates[t.name])), "se": se.get(t.name, np.nan) / estimates[t.name]}
        for t in layout.thetas
        if t.positive and t.bounds is None
    }
    cause = state.status if not lost else f"no individual optimum found for ID {', '.join(lost[:5])}"
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
        parameters=parameter_table(layout, natural, se, units, labels, shrinkage, lognormal, held=estimated is None),
        eta_shrinkage=shrinkage,
        epsilon_shrinkage=found.epsilon_shrinkage,
        individual=_individuals(study, problem, found, share),
        table=_table(study, problem, found),
        iterations=tuple(infos),
        successful=cause == CONVERGED,
        cause=cause,
        warnings=tuple(warnings),
        seconds=seconds,
        solver=problem.spec.solver.name,
        seed=seed,
        condition_number=estimated.condition_number if estimated else float("nan"),
        log_estimates=logs,
        observable_units={
            e.name: (
                study.spec.data.units.get("DV")
                or observable_unit(problem.spec.system, study.model.parameters, e.observable)
            )
            if in_unit_of_data(study.spec.error[e.name])
            else ""
            for e in problem.spec.endpoints
        },
        options=study.model.options,
    )


def _standard_errors(
    layout: Layout, estimated: Uncertainty | None, scale: np.ndarray, printed: str
) -> tuple[dict[str, dict[str, float]], pd.DataFrame]:
    """Standard errors by matrix and name, and the printed matrix's covariance, in shown units; held parameters left out."""
    free = [n for n, held in zip(layout.names, layout.fixed, strict=True) if not held]
    at = [layout.names.index(n) for n in free]
    covariance = pd.DataFrame(index=pd.Index(free), columns=pd.Index(free), dtype=float)
    errors: dict[str, dict[str, float]] = {}
    for matrix, cov in (estimated.covariance if estimated else {}).items():
        shown = (cov / np.outer(scale, scale))[np.ix_(at, at)]
        errors[matrix] = dict(zip(free, (float(x) for x in np.sqrt(np.diag(shown))), strict=True))
        if matrix == printed:
            covariance = pd.DataFrame(shown, index=pd.Index(free), columns=pd.Index(free))
    return errors, covariance


def _at_edge(names: tuple[str, ...], natural: np.ndarray, etas: set[str]) -> list[str]:
    gone = [
        n
        for n, v in zip(names, natural, strict=True)
        if n.removeprefix("OMEGA_") in etas and "OMEGA_" in n and v < 1e-5
    ]
    return [f"{', '.join(gone)} went to zero: leave that random effect out"] if gone else []


def _shrinkage(layout: Layout, found: np.ndarray) -> dict[str, float]:
    """By random effect; those of all occasions together as `IOV_CL`."""
    by_eta = dict(zip(layout.etas, (float(x) for x in found), strict=True))
    out = {}
    for block in layout.blocks:
        for e in block.etas:
            each = [by_eta[f"{e}@{k}"] for k in range(1, block.copies + 1)] if block.copies else [by_eta[e]]
            out[f"IOV_{e}" if block.copies else e] = float(np.mean(each))
    return out


def _individuals(study: Study, problem: Problem, found, share: np.ndarray | None) -> pd.DataFrame:
    """patab: ID, each varying parameter in its own unit (at the first record), the η, and a mixture's class and its
    probabilities."""
    out = pd.DataFrame({"ID": study.subjects})
    system = problem.spec.system
    for v in problem.spec.individual.varying:
        row = study.model.parameters[v.name]
        out[v.name] = found.parameters[system.parameter_index(v.name)] / replace(row, value=1.0).internal
    for i, name in enumerate(problem.spec.layout.etas):
        out[f"ETA_{name}"] = found.eta[i]
    if share is not None:
        out["CLASS"] = share.argmax(axis=0) + 1
        for k, p in enumerate(share, start=1):
            out[f"P_{k}"] = p
    return out


def _table(study: Study, problem: Problem, found) -> pd.DataFrame:
    """sdtab: one line per observation; TIME, DV and predictions in the units of the data."""
    frame = study.events.frame
    observed = frame[frame["MDV"] == 0]
    order = np.concatenate([np.flatnonzero(problem.seen[:, i]) for i in range(problem.subjects)])
    who = np.repeat(np.arange(problem.subjects), problem.seen.sum(axis=0))
    pick = (order, who)
    given = study.spec.data.units
    dvid = observed["DVID"].to_numpy()
    factor = {n: _factor(study, n) for n in set(dvid)}
    shown = np.array([factor[n] for n in dvid])
    dv = observed["DV"].to_numpy() / shown
    censored = observed["CENS"].to_numpy()
    return pd.DataFrame(
        {
            "ID": observed["ID"].to_numpy(),
            "TIME": observed["TIME"].to_numpy() / units_of.factor(given.get("TIME", "h")),
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


def _factor(study: Study, name: str) -> float:
    """How many coherent units one unit of the table's DV is."""
    part, model, given = study.spec.error[name], study.model, study.spec.data.units
    if not in_unit_of_data(part):
        return 1.0
    return (
        units_of.factor(given["DV"])
        if "DV" in given
        else display_factor(model.system, model.parameters, part.observable or name)
    )
