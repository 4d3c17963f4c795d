"""A finished estimation as a `Fit`: everything in shown units, with its tables and warnings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units as units_of
from pbpk.estimation.flip_flop import warn_of_flip_flop
from pbpk.estimation.preflight import find_undetermined, warn_before_fit, warn_of_censoring
from pbpk.estimation.residuals import FitDiagnosis, diagnose_fit, find_post_hoc_etas
from pbpk.estimation.result import Fit, build_parameter_table
from pbpk.estimation.state import CONVERGED, EVALUATED
from pbpk.likelihood.mixture import class_memberships, select_most_probable_class
from pbpk.likelihood.parameter_layout import ParameterLayout, natural_with_jacobian
from pbpk.observe.readings import find_display_factor, find_observable_unit
from pbpk.study.data_units import find_data_unit, is_in_data_unit

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod
    from pbpk.estimation.standard_errors import StandardErrors
    from pbpk.estimation.state import EstimationState, IterationRecord
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study


@dataclass(frozen=True, eq=False)
class EstimationOutcome:
    """What an estimation ended with, in its own coordinates.

    `problem` is as the method prepared it; `standard_errors` is None where the method gives no Hessian to compute them from;
    `failed_ids` are the subjects whose individual optimum or trajectory was not found at the estimates; `seconds` by part of
    the work.
    """

    method: EstimationMethod
    problem: Problem
    state: EstimationState
    iterations: list[IterationRecord]
    standard_errors: StandardErrors | None
    failed_ids: list[str]
    seconds: dict[str, float]
    seed: int


@dataclass(frozen=True, eq=False)
class _SubjectResults:
    """What the fit says of the subjects. `problem` has each once, in a mixture in its most probable class;
    `class_probabilities` (K, N) are those of a mixture, else None."""

    problem: Problem
    diagnosis: FitDiagnosis
    class_probabilities: np.ndarray | None


def build_fit(study: Study, outcome: EstimationOutcome) -> Fit:
    """The result of an estimation of `study` by a method of individual data."""
    problem, state, errors_found = outcome.problem, outcome.state, outcome.standard_errors
    layout, printed = problem.structure.layout, study.spec.estimation.standard_errors
    places = [study.problem.structure.layout.names.index(n) for n in layout.names]
    scale = study.scale[places]
    natural = np.asarray(natural_with_jacobian(layout, state.psi, problem.initial)[0]) / scale
    estimates = dict(zip(layout.names, (float(x) for x in natural), strict=True))
    errors, covariance = convert_standard_errors(layout, errors_found, scale, printed)
    se = errors.get(printed, {})
    subjects = _evaluate_subjects(outcome)
    shrinkage = _group_shrinkage(layout, subjects.diagnosis.eta_shrinkage)
    undetermined = find_undetermined(study, problem, state) if outcome.method.checks_identifiability else []
    cause = _find_cause(outcome, undetermined)
    return Fit(
        study=study.name,
        model=study.model.name,
        method=outcome.method.name,
        ofv=state.ofv,
        subjects=problem.subjects,
        observations=problem.observations,
        quantified=problem.quantified,
        estimates=estimates,
        standard_errors=errors,
        printed_matrix=printed,
        covariance=covariance,
        parameters=build_parameter_table(
            *(layout, natural, se),
            units=tuple(study.units[i] for i in places),
            labels=tuple(study.labels[i] for i in places),
            shrinkage=shrinkage,
            lognormal={v.name for v in problem.structure.individual_model.varying if v.distribution == "lognormal"},
            all_fixed=errors_found is None,
        ),
        eta_shrinkage=shrinkage,
        epsilon_shrinkage=subjects.diagnosis.epsilon_shrinkage,
        individual=_tabulate_individuals(study, subjects),
        table=_tabulate_observations(study, subjects),
        iterations=tuple(outcome.iterations),
        successful=cause in (CONVERGED, EVALUATED),
        lost_modes=tuple(outcome.failed_ids),
        cause=cause,
        warnings=(
            *_choose_matrix_problems(errors_found, printed),
            *warn_vanished_variances(layout.names, natural, set(layout.etas)),
            *undetermined,
            *warn_before_fit(problem),
            *warn_of_flip_flop(problem, state.psi),
            *_list_method_warnings(outcome, study),
        ),
        seconds=outcome.seconds,
        solver=problem.structure.solver.name,
        seed=outcome.seed,
        condition_number=errors_found.condition_number if errors_found else float("nan"),
        log_estimates={
            t.name: {"estimate": float(np.log(estimates[t.name])), "se": se.get(t.name, np.nan) / estimates[t.name]}
            for t in layout.thetas
            if t.positive and t.bounds is None
        },
        observable_units=_find_observable_units(study, problem),
        ofv_units=_find_ofv_units(study, problem),
        options=study.model.options,
    )


def _list_method_warnings(outcome: EstimationOutcome, study: Study) -> list[str]:
    """What the method says of its result; after an evaluation alone, what was evaluated."""
    method, problem = outcome.method, outcome.problem
    warnings = [] if problem.structure.classes > 1 else warn_of_censoring(method.name, problem)
    if outcome.state.status != EVALUATED:
        return warnings + method.list_warnings(problem, outcome.state, study.subjects)
    if method.minimises_objective:
        return warnings
    objective = str(type(method).evaluate.__doc__ or "").split(":")[0].split(".")[0]
    return [
        *warnings,
        f"{method.name.upper()} was evaluated, not run: the OFV is {objective[:1].lower()}{objective[1:]}",
    ]


def _evaluate_subjects(outcome: EstimationOutcome) -> _SubjectResults:
    """η, residuals and individual parameters at the estimates; a mixture's subjects in their most probable class."""
    method, problem, state = outcome.method, outcome.problem, outcome.state
    eta = state.eta if method.finds_etas else np.asarray(find_post_hoc_etas(problem, state.psi, state.eta))
    probabilities = None
    if problem.structure.classes > 1:
        one_class = replace(problem, structure=replace(problem.structure, classes=1))
        objective = np.asarray(method.evaluate(one_class, state.psi, state.eta).objective)
        probabilities = class_memberships(problem, state.psi, objective)
        problem, columns = select_most_probable_class(problem, probabilities)
        eta = eta[:, columns]
    return _SubjectResults(problem, diagnose_fit(problem, state.psi, eta), probabilities)


def _find_cause(outcome: EstimationOutcome, undetermined: list[str]) -> str:
    """Why the estimation ended: `converged`, or the first thing that keeps it from counting as that."""
    if outcome.failed_ids:
        return f"no individual optimum found for ID {', '.join(outcome.failed_ids[:5])}"
    return undetermined[0] if undetermined and outcome.state.status == CONVERGED else outcome.state.status


def _choose_matrix_problems(errors_found: StandardErrors | None, printed: str) -> list[str]:
    """What failed of the matrices; a singular S concerns nobody where R is printed."""
    if errors_found is None:
        return []
    return [text for text in errors_found.problems if printed != "R" or "S matrix" not in text]


def _find_observable_units(study: Study, problem: Problem) -> dict[str, str]:
    """The unit of the DV of each endpoint, empty for one without."""

    def find_unit(endpoint) -> str:
        if not is_in_data_unit(study.spec.error[endpoint.name]):
            return ""
        return find_data_unit(study.spec, endpoint.name) or find_observable_unit(
            problem.structure.system, study.model.parameters, endpoint.observable
        )

    return {e.name: find_unit(e) for e in problem.structure.endpoints}


def _find_ofv_units(study: Study, problem: Problem) -> dict[str, str]:
    """The unit in which each continuous endpoint's y has the density that the OFV is of; none where y is transformed."""
    names = [e.name for e in problem.structure.endpoints if e.is_continuous]
    return {n: find_data_unit(study.spec, n) or "" for n in names if is_in_data_unit(study.spec.error[n])}


def convert_standard_errors(
    layout: ParameterLayout, errors_found: StandardErrors | None, scale: np.ndarray, printed: str
) -> tuple[dict[str, dict[str, float]], pd.DataFrame]:
    """Standard errors by matrix and name, and the covariance by the matrix `printed`, both in shown units and of the free
    parameters only. `scale` (names,): coherent units of one shown unit."""
    free = [n for n, is_fixed in zip(layout.names, layout.fixed_mask, strict=True) if not is_fixed]
    places = [layout.names.index(n) for n in free]
    covariance = pd.DataFrame(index=pd.Index(free), columns=pd.Index(free), dtype=float)
    errors: dict[str, dict[str, float]] = {}
    for matrix, coherent in (errors_found.covariance if errors_found else {}).items():
        in_shown_units = (coherent / np.outer(scale, scale))[np.ix_(places, places)]
        errors[matrix] = dict(zip(free, (float(x) for x in np.sqrt(np.diag(in_shown_units))), strict=True))
        if matrix == printed:
            covariance = pd.DataFrame(in_shown_units, index=pd.Index(free), columns=pd.Index(free))
    return errors, covariance


def warn_vanished_variances(names: tuple[str, ...], natural: np.ndarray, etas: set[str]) -> list[str]:
    """A sentence that names the variances of `natural` (names,) that ended at zero, or nothing."""
    vanished = [
        n
        for n, value in zip(names, natural, strict=True)
        if n.removeprefix("OMEGA_") in etas and "OMEGA_" in n and value < 1e-5
    ]
    return [f"{', '.join(vanished)} went to zero: leave that random effect out"] if vanished else []


def _group_shrinkage(layout: ParameterLayout, eta_shrinkage: np.ndarray) -> dict[str, float]:
    """Shrinkage by random effect; that of all occasions together as `IOV_CL`."""
    by_eta = dict(zip(layout.etas, (float(x) for x in eta_shrinkage), strict=True))
    shrinkage = {}
    for block in layout.blocks:
        for e in block.etas:
            each = [by_eta[f"{e}@{k}"] for k in range(1, block.occasions + 1)] if block.occasions else [by_eta[e]]
            shrinkage[f"IOV_{e}" if block.occasions else e] = float(np.mean(each))
    return shrinkage


def _tabulate_individuals(study: Study, subjects: _SubjectResults) -> pd.DataFrame:
    """patab: ID, each varying parameter in its own unit (at the first record), the η, and a mixture's class and its
    probabilities."""
    table = pd.DataFrame({"ID": study.subjects})
    structure, diagnosis = subjects.problem.structure, subjects.diagnosis
    for v in structure.individual_model.varying:
        row = study.model.parameters[v.name]
        values = diagnosis.parameters[structure.system.parameter_index(v.name)]
        table[v.name] = values / replace(row, value=1.0).internal
    for i, name in enumerate(structure.layout.etas):
        table[f"ETA_{name}"] = diagnosis.eta[i]
    if subjects.class_probabilities is not None:
        table["CLASS"] = subjects.class_probabilities.argmax(axis=0) + 1
        for k, p in enumerate(subjects.class_probabilities, start=1):
            table[f"P_{k}"] = p
    return table


def _tabulate_observations(study: Study, subjects: _SubjectResults) -> pd.DataFrame:
    """sdtab: one line per observation; TIME, DV and predictions in the units of the data."""
    problem, diagnosis = subjects.problem, subjects.diagnosis
    frame = study.events.frame
    observed = frame[frame["MDV"] == 0]
    rows = np.concatenate([np.flatnonzero(problem.observed_mask[:, i]) for i in range(problem.subjects)])
    columns = np.repeat(np.arange(problem.subjects), problem.observed_mask.sum(axis=0))
    in_file_order = (rows, columns)
    dvid = observed["DVID"].to_numpy()
    factors = {n: _find_data_unit(study, n) for n in set(dvid)}
    factor = np.array([factors[n] for n in dvid])
    dv = observed["DV"].to_numpy() / factor
    censored = observed["CENS"].to_numpy()
    return pd.DataFrame(
        {
            "ID": observed["ID"].to_numpy(),
            "TIME": observed["TIME"].to_numpy() / units_of.unit_factor(study.spec.data.units.get("TIME", "h")),
            "DVID": dvid,
            "DV": dv,
            "PRED": diagnosis.pred[in_file_order] / factor,
            "IPRED": diagnosis.ipred[in_file_order] / factor,
            "RES": dv - diagnosis.pred[in_file_order] / factor,
            "IWRES": diagnosis.iwres[in_file_order],
            "CWRES": diagnosis.cwres[in_file_order],
        }
        | ({"CENS": censored} if censored.any() else {})
    )


def _find_data_unit(study: Study, name: str) -> float:
    """How many coherent units one unit of the DV of the endpoint `name` is."""
    part, model, unit = study.spec.error[name], study.model, find_data_unit(study.spec, name)
    if not is_in_data_unit(part):
        return 1.0
    if unit:
        return units_of.unit_factor(unit)
    return find_display_factor(model.system, model.parameters, part.observable or name)
