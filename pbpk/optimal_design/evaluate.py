"""What a given design will tell: its information, its criterion, and the study's own design as it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.errors import ScienceFailed
from pbpk.optimal_design.criteria import compute_mean_criterion, refuse_singular
from pbpk.optimal_design.exchange import CandidateInformation
from pbpk.optimal_design.moments import ObservationMoments, compute_moments
from pbpk.optimal_design.options import list_study_times
from pbpk.optimal_design.records import build_candidates
from pbpk.optimal_design.result import ArmSchedule
from pbpk.results import explain

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.optimal_design.design_problem import DesignProblem
    from pbpk.optimal_design.linearisation import LinearisationPoints
    from pbpk.optimal_design.records import SubjectProfile
    from pbpk.study.load import Study


@dataclass(frozen=True, eq=False)
class EvaluatedDesign:
    """A design with what it will tell. `value`: the criterion; `information` (P, P) at the study's own values; `bound`: what
    no design on the candidate times exceeds. `study_value` and `study_information`: of the study as it stands, None where that
    does not determine all parameters.

    `profiles`, `times` {arm: (k,)} and `observables` say which samples were placed; `notes`: sentences for the reader.
    """

    value: float
    information: np.ndarray
    schedules: Sequence[ArmSchedule]
    profiles: Sequence[SubjectProfile]
    study_value: float | None
    study_information: np.ndarray | None
    times: Mapping[str, np.ndarray] = field(default_factory=dict)
    observables: Sequence[str] = ()
    bound: float | None = None
    notes: Sequence[str] = ()


def evaluate_study_design(problem: DesignProblem, profiles: Sequence[SubjectProfile]) -> EvaluatedDesign:
    """The study's own samples, as they are. Raises `ScienceFailed` where they cannot tell all parameters."""
    information = compute_information(problem.study, profiles, {}, (), problem.at_values)
    refuse_singular(information[0], problem.coordinates.names)
    over_prior = information
    if problem.has_prior:
        over_prior = compute_information(problem.study, profiles, {}, (), problem.over_prior)
    value = compute_value(over_prior, problem.interest)
    schedules = list_study_schedules(problem.study, profiles, problem.spec.arms)
    return EvaluatedDesign(value, information[0], schedules, profiles, value, information[0])


def evaluate_as_it_stands(
    problem: DesignProblem, profiles: Sequence[SubjectProfile]
) -> tuple[float | None, np.ndarray | None]:
    """Criterion and information (P, P) of the study's own samples; both None where these do not tell all parameters."""
    try:
        information = compute_information(problem.study, profiles, {}, (), problem.at_values)
    except ScienceFailed:
        return None, None
    if not np.isfinite(compute_value(information, ())):
        return None, None
    over_prior = information
    if problem.has_prior:
        over_prior = compute_information(problem.study, profiles, {}, (), problem.over_prior)
    return compute_value(over_prior, problem.interest), information[0]


def compute_value(information: np.ndarray, interest: tuple[int, ...]) -> float:
    """The criterion of information matrices (D, P, P)."""
    return float(compute_mean_criterion(jnp.asarray(information), interest))


def compute_information(
    study: Study,
    profiles: Sequence[SubjectProfile],
    times: Mapping[str, np.ndarray],
    observables: Sequence[str],
    points: LinearisationPoints,
) -> np.ndarray:
    """(D, P, P): the information of the design in which every arm takes all of its `times` (h)."""
    candidates = compute_candidate_information(study, profiles, times, observables, points)
    return sum_over_arms(candidates, {p.arm: np.arange(len(times.get(p.arm, ()))) for p in profiles})


def compute_candidate_information(
    study: Study,
    profiles: Sequence[SubjectProfile],
    times: Mapping[str, np.ndarray],
    observables: Sequence[str],
    points: LinearisationPoints,
) -> CandidateInformation:
    """The moments of samples of `observables` at all of each arm's `times` (h), from one solution.

    Raises `ScienceFailed` where a subject cannot be predicted.
    """
    candidates = build_candidates(study, profiles, times, observables)
    moments = _compute_all_moments(candidates.problem, points.psi, points.eta, form=points.form, centred=points.centred)
    codes = np.asarray(moments.codes)
    if (codes != 0).any():
        first = int(codes[codes != 0][0])
        raise ScienceFailed(
            "a subject of the design cannot be predicted", why=explain(first), where=f"fits/{study.name}"
        )
    return CandidateInformation(candidates, moments, points.psi_per_coordinate, points.interest)


@partial(jax.jit, static_argnames=("form", "centred"))
def _compute_all_moments(problem: Problem, psi, eta, *, form: str, centred: bool) -> ObservationMoments:
    """The moments at psi (D, P) and eta (D, S, q), with the axes D and S in front: one point after another, as each already
    fills the device with its subjects."""

    def at_vector(point):
        psi, eta = point

        def at_eta(e):
            return compute_moments(
                problem, psi, jnp.broadcast_to(e[:, None], (*e.shape, problem.subjects)), form, centred
            )

        return jax.lax.map(at_eta, eta)

    return jax.lax.map(at_vector, (psi, eta))


def sum_over_arms(candidates: CandidateInformation, choice: Mapping[str, np.ndarray]) -> np.ndarray:
    """(D, P, P): the information of all subjects when each arm takes its `choice` (k,) of candidates.

    Raises `ScienceFailed` where an observation has no residual variance.
    """
    _refuse_without_variance(candidates, choice)
    return np.sum([candidates.compute_arm(arm, np.asarray(c)[None])[0] for arm, c in choice.items()], axis=0)


def _refuse_without_variance(information: CandidateInformation, choice: Mapping[str, np.ndarray]) -> None:
    """A prediction of zero has no proportional error, and would seem to tell everything."""
    least_variance = np.asarray(information.moments.r).min(axis=(0, 1))
    candidates = information.candidates
    for arm, chosen in choice.items():
        for lane, rows in zip(candidates.find_lanes(arm), candidates.select_rows(arm, chosen), strict=True):
            if not (least_variance[rows[rows >= 0], lane] > 0).all():
                raise ScienceFailed(
                    "an observation without residual variance: its prediction is 0 and its error proportional",
                    where=f"subject {candidates.profiles[lane].frame['ID'].iloc[0]}",
                    hint='use model = "combined2", or leave that sample out (MDV = 1)',
                )


def list_study_schedules(study: Study, profiles: Sequence[SubjectProfile], arms: str | None) -> list[ArmSchedule]:
    """The study's own samples by arm and endpoint; without times where they differ between the arm's subjects."""
    schedules = []
    counts = count_subjects(profiles)
    for name in dict.fromkeys(e.name for e in study.problem.structure.endpoints):
        for arm, times_by_subject in list_study_times(study, profiles, arms, (name,)).items():
            is_shared = len({t.tobytes() for t in times_by_subject}) == 1
            if any(len(t) for t in times_by_subject):
                times = tuple(float(x) for x in times_by_subject[0]) if is_shared else None
                schedules.append(ArmSchedule(arm, float(counts[arm]), (name,), times))
    return schedules


def count_subjects(profiles: Sequence[SubjectProfile]) -> dict[str, float]:
    """How many subjects each arm has."""
    return {arm: sum(p.count for p in profiles if p.arm == arm) for arm in dict.fromkeys(p.arm for p in profiles)}
