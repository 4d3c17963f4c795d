"""From a question to a design: evaluate the study's own, or find the best one, and say what it will tell."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.errors import WrongUsage
from pbpk.optimal_design.criteria import count_parameters_of_interest
from pbpk.optimal_design.design_problem import DesignProblem, build_design_problem, list_left_out, read_goals
from pbpk.optimal_design.evaluate import EvaluatedDesign, evaluate_study_design
from pbpk.optimal_design.exact_information import simulate_design
from pbpk.optimal_design.optimise import optimise_design
from pbpk.optimal_design.options import scale_counts
from pbpk.optimal_design.records import group_profiles
from pbpk.optimal_design.result import Design, count_needed_subjects, tabulate_parameters
from pbpk.optimal_design.spec import DesignSpec
from pbpk.study.load import Study, load_study

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Unpack

    from pbpk.optimal_design.spec import DesignOptions


def design_study(study: str | Path | Study, spec: DesignSpec | None = None, **options: Unpack[DesignOptions]) -> Design:
    """Evaluate a study's design, or find a better one where `samples`, `times`, `windows` or `optimise` ask for it.

    study: a name, a folder, or `load_study(…, planned=True)`; its values are the truth the design is for. Its data need no DV.
    options: what is asked, by keyword, as `DesignSpec` (optimal_design/spec.py) documents each; they go before those of `spec`.

    Raises `BadInput`, `WrongUsage`; `ScienceFailed` where a design cannot tell parameters, which it names.
    """
    begun = time.perf_counter()
    spec = replace(spec or DesignSpec(), **options)
    if not isinstance(study, Study):
        study = load_study(study, settings=spec.settings, solver=spec.solver, planned=True)
    problem = build_design_problem(study, spec)
    goals = read_goals(spec.rse, spec.power, problem.coordinates)
    profiles = scale_counts(group_profiles(study, spec.arms, ()), spec.subjects)
    design = optimise_design(problem, profiles) if spec.places_samples else evaluate_study_design(problem, profiles)
    exact = None
    if spec.exact:
        if spec.split_patients and spec.places_samples:
            raise WrongUsage("--exact is for one schedule an arm", hint="leave --split out")
        exact = simulate_design(problem, design)
    return _build_result(problem, design, goals, exact, begun)


def _build_result(
    problem: DesignProblem,
    design: EvaluatedDesign,
    goals: Sequence[tuple[str, str, float]],
    exact: dict[str, Any] | None,
    begun: float,
) -> Design:
    """The result as it is handed back. `begun` is when the work began, in seconds of `time.perf_counter`."""
    spec, names = problem.spec, problem.coordinates.names
    table = tabulate_parameters(problem.coordinates, design.information, design.study_information)
    subjects = float(sum(p.count for p in design.profiles))
    size = count_parameters_of_interest(len(names), problem.interest)
    own_value = design.study_value
    return Design(
        study=problem.study.name,
        criterion=problem.criterion,
        interest=tuple(spec.interest),
        form=spec.form,
        approximation=spec.approximation,
        value=design.value,
        own_value=own_value if own_value is None or np.isfinite(own_value) else None,
        subjects=subjects,
        schedules=tuple(design.schedules),
        parameters=table,
        information=pd.DataFrame(design.information, index=list(names), columns=list(names)),
        optimised=spec.places_samples,
        needed=tuple(count_needed_subjects(table, subjects, kind, name, goal) for kind, name, goal in goals),
        at_most=design.bound,
        efficiency=None if design.bound is None else float(np.exp((design.value - design.bound) / size)),
        exact=exact,
        warnings=(*list_left_out(problem.study), *design.notes),
        seconds=time.perf_counter() - begun,
        settings={
            "seed": spec.seed,
            "starts": spec.starts,
            "spacing": spec.spacing,
            "draws": len(problem.over_prior.psi),
            "etas": problem.over_prior.eta.shape[1],
        },
    )
