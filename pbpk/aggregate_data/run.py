"""A fit to aggregates, alone or with individual data: the loop of `pbpk.estimation.run`, with rows of a table as columns."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd

from pbpk.aggregate_data.method import SUMMARY, AggregateMethod, combine_with_aggregates
from pbpk.aggregate_data.result import SummaryFit, build_summary_table
from pbpk.aggregate_data.rows import SummaryRow, convert_cv_to_sd, read_rows
from pbpk.errors import ScienceFailed
from pbpk.estimation.base import EstimationMethod
from pbpk.estimation.build_fit import EstimationOutcome, build_fit, convert_standard_errors, warn_vanished_variances
from pbpk.estimation.preflight import warn_before_fit
from pbpk.estimation.result import build_parameter_table
from pbpk.estimation.run import Callbacks, Stopwatch, find_standard_errors, run_iterations
from pbpk.estimation.standard_errors import StandardErrors
from pbpk.estimation.state import CONVERGED, EstimationState, IterationRecord
from pbpk.likelihood.parameter_layout import natural_with_jacobian
from pbpk.results import explain

if TYPE_CHECKING:
    from pbpk.aggregate_data.problem import JointProblem
    from pbpk.study.load import Study

_compute_solver_codes = jax.jit(lambda problem, psi: problem.compute_quantities(psi)[1])


def run_summary(
    study: Study, method: EstimationMethod, *, resume=None, callbacks: Callbacks, seed: int = 1
) -> SummaryFit:
    """Fit a study with aggregates; the arguments are those of `pbpk.estimation.run.run_fit`.

    Raises `ScienceFailed` where the objective is not finite at the start.
    """
    problem: Any = study.problem  # a JointProblem
    combined_method = combine_with_aggregates(method, problem)
    rows = read_study_rows(study)
    stopwatch = Stopwatch()
    if resume:
        state, iterations = resume
    else:
        state, iterations = combined_method.init(problem), []
        _check_start(study, problem, state, rows)
        callbacks.on_iteration(state, iterations)
    stopwatch.finish("first evaluation")
    state = run_iterations(combined_method, problem, state, iterations, callbacks)
    stopwatch.finish("iterations")
    standard_errors = find_standard_errors(combined_method, problem, state, callbacks)
    stopwatch.finish("standard errors")
    return _build_summary_fit(
        study, method, combined_method, problem, state, iterations, standard_errors, rows, stopwatch.seconds, seed
    )


def read_study_rows(study: Study) -> tuple[SummaryRow, ...]:
    """The rows of a study's summary.csv, with CVs as SDs."""
    part = study.spec.summary
    assert part is not None
    return convert_cv_to_sd(read_rows(study.folder / part.file, part))


def _check_start(study: Study, problem: JointProblem, state: EstimationState, rows: tuple[SummaryRow, ...]) -> None:
    """Refuse to start from an objective that is not finite, naming rows and patients. Raises `ScienceFailed`."""
    bad = np.flatnonzero(~np.isfinite(state.objective))
    if not len(bad):
        return
    codes = np.asarray(_compute_solver_codes(problem.summary, state.psi))
    why = []
    if codes.any():
        k = int(np.flatnonzero(codes)[0])
        arm = k // problem.summary.structure.patients
        group = problem.summary.structure.arms[arm]
        why.append(
            f"{(codes != 0).sum()} virtual patients could not be solved, the first in group `{group}`: {explain(int(codes[k]))}"
        )
    else:
        order = problem.summary.structure.blocks.order
        row_positions = [i - problem.subjects for i in bad]
        names = [rows[order[i]].label for i in row_positions if i >= 0][:5] + [
            f"subject {i + 1}" for i in bad if i < problem.subjects
        ][:5]
        why.append(f"not finite: {'; '.join(names)}")
        why.append(
            "Two rows of a group that follow from each other, or a quantity that does not differ between patients, "
            "have no density."
        )
    raise ScienceFailed(
        f"the objective is not finite at the starting values (OFV = {state.ofv:g})",
        where=f"fits/{study.name}", why="\n".join(why), hint="mark a row use = no, or try other initial values",
    )  # fmt: skip


def _build_summary_fit(
    study: Study,
    method: EstimationMethod,
    combined_method: AggregateMethod,
    problem: JointProblem,
    state: EstimationState,
    iterations: list[IterationRecord],
    standard_errors: StandardErrors | None,
    rows: tuple[SummaryRow, ...],
    seconds: dict[str, float],
    seed: int,
) -> SummaryFit:
    """The result: the fit of the individual data where there are any, and the table of rows."""
    is_good = np.asarray(combined_method.evaluate(problem, state.psi, state.eta).good)
    table = build_summary_table(problem.summary, rows, state.psi)
    if problem.individual is None:
        return SummaryFit(
            **_collect_fields(study, problem, state, iterations, standard_errors, seconds, seed, bool(is_good.all())),
            summary=table,
        )
    failed_ids = [subject for subject, good in zip(study.subjects, is_good, strict=False) if not good]
    inner = replace(study, problem=problem.individual)
    individual_fit = build_fit(
        inner,
        EstimationOutcome(method, problem.individual, state, iterations, standard_errors, failed_ids, seconds, seed),
    )
    values: dict[str, Any] = {f.name: getattr(individual_fit, f.name) for f in fields(individual_fit)}
    values |= {k: getattr(problem, k) for k in ("observations", "quantified")}
    # The rows may determine what the individual data by themselves do not.
    individual_warnings = warn_before_fit(problem.individual)
    values["warnings"] = tuple(w for w in individual_fit.warnings if w not in individual_warnings)
    values |= {"method": combined_method.name, "summary": table}
    return SummaryFit(**values)


def _collect_fields(
    study: Study, problem: JointProblem, state: EstimationState, iterations: list[IterationRecord],
    standard_errors: StandardErrors | None, seconds: dict[str, float], seed: int, good: bool,
) -> dict[str, Any]:  # fmt: skip
    """The fields of a `Fit` without individuals."""
    layout, printed = problem.structure.layout, study.spec.estimation.standard_errors
    natural = np.asarray(natural_with_jacobian(layout, state.psi, problem.initial)[0]) / study.scale
    estimates = dict(zip(layout.names, (float(x) for x in natural), strict=True))
    errors, covariance = convert_standard_errors(layout, standard_errors, study.scale, printed)
    problems = standard_errors.problems if standard_errors else ()
    warnings = [t for t in problems if "S matrix" not in t]
    if printed != "R" and len(warnings) < len(problems):
        warnings.append(
            f"the S matrix is singular: {problem.observations} rows cannot support {state.psi.size} parameters"
        )
    warnings += warn_vanished_variances(layout.names, natural, set(layout.etas))
    se = errors.get(printed, {})
    lognormal = {v.name for v in problem.structure.individual_model.varying if v.distribution == "lognormal"}
    logs = {
        t.name: {"estimate": float(np.log(estimates[t.name])), "se": se.get(t.name, np.nan) / estimates[t.name]}
        for t in layout.thetas
        if t.positive
    }
    cause = state.status if good else "a virtual patient could not be solved"
    return {
        "study": study.name, "model": study.model.name, "method": SUMMARY.name, "ofv": state.ofv, "subjects": 0,
        "observations": problem.observations, "quantified": problem.quantified, "estimates": estimates,
        "standard_errors": errors, "printed_matrix": printed, "covariance": covariance,
        "parameters": build_parameter_table(
            layout, natural, se, study.units, study.labels, {}, lognormal, all_fixed=standard_errors is None
        ),
        "eta_shrinkage": {}, "epsilon_shrinkage": float("nan"),
        "individual": pd.DataFrame({"ID": []}),
        "table": pd.DataFrame({c: [] for c in ("ID", "TIME", "DVID", "DV", "PRED", "IPRED", "RES", "IWRES", "CWRES")}),
        "iterations": tuple(iterations), "successful": cause == CONVERGED, "cause": cause, "warnings": tuple(warnings),
        "seconds": seconds, "solver": problem.structure.solver.name, "seed": seed,
        "condition_number": standard_errors.condition_number if standard_errors else float("nan"), "log_estimates": logs,
        "observable_units": {}, "options": study.model.options,
    }  # fmt: skip
