"""The best sampling times: one schedule for each arm by exchange and continuous refinement, or patients split over several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import ScienceFailed
from pbpk.optimal_design.criteria import refuse_singular
from pbpk.optimal_design.evaluate import (
    EvaluatedDesign,
    compute_candidate_information,
    compute_information,
    compute_value,
    count_subjects,
    evaluate_as_it_stands,
    sum_over_arms,
)
from pbpk.optimal_design.exchange import exchange_times
from pbpk.optimal_design.options import build_space, list_study_times, scale_counts, select_observables
from pbpk.optimal_design.records import group_profiles
from pbpk.optimal_design.refine_times import refine_times
from pbpk.optimal_design.result import ArmSchedule
from pbpk.optimal_design.schedule_mixture import optimise_split, round_subjects

if TYPE_CHECKING:
    from pbpk.optimal_design.design_problem import DesignProblem
    from pbpk.optimal_design.exchange import CandidateInformation
    from pbpk.optimal_design.records import SubjectProfile
    from pbpk.optimal_design.sampling_space import SamplingSpace

_MOST_ELEMENTARY = 40_000  # elementary designs, times kinds of subjects, that a split is looked for among
_REFINED_STARTS = 3


@dataclass(frozen=True, eq=False)
class PlacementSearch:
    """What is searched: samples of `observables` in `space`, for the subjects of `profiles`. `candidates` has the information
    of every candidate, over the prior where there is one."""

    problem: DesignProblem
    observables: tuple[str, ...]
    profiles: tuple[SubjectProfile, ...]
    space: SamplingSpace
    candidates: CandidateInformation


def optimise_design(problem: DesignProblem, study_profiles: Sequence[SubjectProfile]) -> EvaluatedDesign:
    """The best design that the specification allows, beside the study as it stands (`study_profiles`).

    Raises `BadInput` and `WrongUsage` for where samples may be, `ScienceFailed` where no choice tells all parameters.
    """
    study, spec = problem.study, problem.spec
    observables = select_observables(study, spec.observables)
    profiles = scale_counts(group_profiles(study, spec.arms, observables), spec.subjects)
    grid = None if spec.times is None else np.unique(np.asarray(spec.times, float))
    study_times = list_study_times(study, profiles, spec.arms, observables)
    space = build_space(study, study_times, observables, spec.samples, grid, spec.windows, spec.spacing)
    spec.progress(f"moments at {max(map(len, space.times.values()))} candidate times")
    candidates = compute_candidate_information(study, profiles, space.times, observables, problem.over_prior)
    space, notes = _leave_out_zero_predictions(candidates, space)
    search = PlacementSearch(problem, observables, profiles, space, candidates)
    design = _split_patients(search) if spec.split_patients else _find_one_schedule(search)
    refuse_singular(design.information, problem.coordinates.names)
    study_value, study_information = evaluate_as_it_stands(problem, study_profiles)
    return replace(design, study_value=study_value, study_information=study_information, notes=(*notes, *design.notes))


def _leave_out_zero_predictions(
    information: CandidateInformation, space: SamplingSpace
) -> tuple[SamplingSpace, list[str]]:
    """The space without candidates at which a prediction is 0 under a proportional error, and a note for each arm of them.

    Such a sample would have no residual variance and seem to tell everything. Windows begin at the first
    candidate that is left.
    """
    notes = []
    least_variance = np.asarray(information.moments.r).min(axis=(0, 1))
    for arm, times in space.times.items():
        worst = np.full(len(times), np.inf)
        for lane in information.candidates.find_lanes(arm):
            rows = information.candidates.candidate_rows[lane, : len(times)]
            worst = np.minimum(worst, least_variance[rows, lane].min(axis=1))
        if not (bad := worst <= 0).any():
            continue
        if bad.all():
            raise ScienceFailed("every candidate time has a prediction of 0 under a proportional error")
        listed = ", ".join(f"{t:g}" for t in times[bad][:5])
        notes.append(f"no sample at {listed} h: a prediction of 0 has no proportional error")
        low = float(times[~bad].min())
        windows = {**space.windows, arm: tuple((max(a, low), max(b, low)) for a, b in space.windows[arm])}
        space = replace(space, windows=windows)
    return space, notes


def _find_one_schedule(search: PlacementSearch) -> EvaluatedDesign:
    """The best times of each arm, all of whose subjects share them."""
    problem, space = search.problem, search.space
    spec = problem.spec
    spec.progress(f"exchange from {spec.starts} starts")
    choices = exchange_times(search.candidates, space, spec.starts, spec.seed)
    value, choice = choices[0]
    times = {arm: space.times[arm][c] for arm, c in choice.items()}
    if value > -np.inf and not space.is_grid:
        value, times = _refine_best(search, choices)
    if space.is_grid and not problem.has_prior:
        information = sum_over_arms(search.candidates, choice)
    else:
        information = compute_information(problem.study, search.profiles, times, search.observables, problem.at_values)
    counts = count_subjects(search.profiles)
    schedules = [
        ArmSchedule(arm, counts[arm], search.observables, tuple(float(t) for t in at)) for arm, at in times.items()
    ]
    return EvaluatedDesign(
        value=value,
        information=information[0],
        schedules=schedules,
        profiles=search.profiles,
        study_value=None,
        study_information=None,
        times=times,
        observables=search.observables,
        bound=_bound_value(search),
    )


def _refine_best(
    search: PlacementSearch, choices: Sequence[tuple[float, Mapping[str, np.ndarray]]]
) -> tuple[float, dict[str, np.ndarray]]:
    """Criterion and times by arm after continuous refinement of the best few distinct choices on the grid."""
    problem, space = search.problem, search.space
    best, times = -np.inf, {}
    refined: set[tuple] = set()
    for value, choice in choices:
        key = tuple(np.sort(c).tobytes() for c in choice.values())
        if key in refined or len(refined) == _REFINED_STARTS or value == -np.inf:
            continue
        refined.add(key)
        problem.spec.progress(f"continuous times from start {len(refined)}")
        start = {arm: space.times[arm][c] for arm, c in choice.items()}
        end_value, end = refine_times(
            problem.study, search.profiles, search.observables, space, start, problem.over_prior
        )
        if end_value < value:
            end_value, end = value, start
        if end_value > best:
            best, times = end_value, end
    return best, {arm: np.sort(t) if space.has_common_window(arm) else t for arm, t in times.items()}


def _bound_value(search: PlacementSearch) -> float | None:
    """What no design on the grid exceeds, split or not, where its elementary designs can be counted out."""
    space, candidates = search.space, search.candidates
    size = sum(space.count_elementary_designs(arm) * len(candidates.candidates.find_lanes(arm)) for arm in space.times)
    if size > _MOST_ELEMENTARY or not all(map(space.has_common_window, space.times)):
        return None
    try:
        designs = {arm: space.list_elementary_designs(arm, _MOST_ELEMENTARY) for arm in space.times}
        return optimise_split(candidates, designs).bound
    except ScienceFailed:
        return None


def _split_patients(search: PlacementSearch) -> EvaluatedDesign:
    """Schedules with whole subjects, in the best proportions."""
    problem, space, candidates = search.problem, search.space, search.candidates
    problem.spec.progress("split over several schedules")
    designs = {
        arm: space.list_elementary_designs(arm, _MOST_ELEMENTARY // len(candidates.candidates.find_lanes(arm)))
        for arm in space.times
    }
    notes = []
    if any(len(np.unique(e)) < space.mark_inside(arm, 0).sum() for arm, e in designs.items()):
        notes.append("too many schedules to count out: the split is over those of a thinned grid of times")
    mixture = optimise_split(candidates, designs)
    at_values = compute_candidate_information(
        problem.study, search.profiles, space.times, search.observables, problem.at_values
    )
    schedules = []
    information = np.zeros_like(candidates.psi_per_coordinate)
    information_at_values = np.zeros_like(problem.at_values.psi_per_coordinate)
    counts = count_subjects(search.profiles)
    for arm, weights in mixture.weights.items():
        subjects = round_subjects(weights, round(counts[arm]))
        for k in np.flatnonzero(subjects):
            share, chosen = subjects[k] / subjects.sum(), designs[arm][k]
            information = information + share * candidates.compute_arm(arm, chosen[None])[0]
            information_at_values = information_at_values + share * at_values.compute_arm(arm, chosen[None])[0]
            times = tuple(float(t) for t in space.times[arm][chosen])
            schedules.append(ArmSchedule(arm, int(subjects[k]), search.observables, times))
    schedules.sort(key=lambda s: (s.arm, -s.subjects))
    return EvaluatedDesign(
        value=compute_value(information, problem.interest),
        information=information_at_values[0],
        schedules=schedules,
        profiles=search.profiles,
        study_value=None,
        study_information=None,
        observables=search.observables,
        bound=mixture.bound,
        notes=notes,
    )
