"""From a question to a design: evaluate the study's own, or find the best one, and say what it will tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.errors import BadInput, ScienceFailed, WrongUsage, did_you_mean
from pbpk.optimal_design.coordinates import DesignCoordinates, build_coordinates
from pbpk.optimal_design.criteria import CRITERIA, count_parameters_of_interest, refuse_singular
from pbpk.optimal_design.exact_information import estimate_exact_information
from pbpk.optimal_design.exchange import CandidateInformation, exchange_times
from pbpk.optimal_design.moments import FORMS, ObservationMoments, compute_moments
from pbpk.optimal_design.options import build_space, draw_from_prior, list_study_times, scale_counts, select_observables
from pbpk.optimal_design.records import (
    CandidateSamples,
    SubjectProfile,
    build_candidates,
    group_profiles,
    repeat_profiles,
)
from pbpk.optimal_design.refine_times import LinearisationPoints, refine_times
from pbpk.optimal_design.result import ArmSchedule, Design
from pbpk.optimal_design.sample_size import compute_wald_power, count_patients_for_error, count_patients_for_power
from pbpk.optimal_design.schedule_mixture import optimise_split, round_subjects
from pbpk.results import explain
from pbpk.study.load import Study, load_study

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.optimal_design.sampling_space import SamplingSpace, TimeWindow

APPROXIMATIONS = ("fo", "foce")
_ELEMENTARY = 40_000  # elementary designs, times kinds of subjects, that a split is looked for among
_LANES = 64


def design_study(
    study: str | Path | Study,
    *,
    criterion: str = "D",
    interest: Sequence[str] = (),
    samples: int | Mapping[str, int] | None = None,
    times: np.ndarray | Sequence[float] | None = None,
    windows: Sequence[TimeWindow] | None = None,
    spacing: float = 0.0,
    observables: Sequence[str] | None = None,
    arms: str | None = None,
    subjects: float | Mapping[str, float] | None = None,
    optimise: bool = False,
    split_patients: bool = False,
    prior: Mapping[str, tuple[float, bool]] | None = None,
    draws: int = 16,
    form: str = "reduced",
    approximation: str = "fo",
    etas: int = 64,
    rse: Mapping[str, float] | None = None,
    power: Mapping[str, float] | None = None,
    exact: bool = False,
    marginal: str = "agq",
    replicates: int = 1000,
    starts: int = 6,
    seed: int = 1,
    settings: Mapping[str, str] | None = None,
    solver: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Design:
    """Evaluate a study's design, or find a better one where `samples`, `times`, `windows` or `optimise` ask for it.

    study: a name, a folder, or `load_study(…, planned=True)`; its values are the truth the design is for. Its data need no DV.
    criterion, interest: "D", "Ds" for the named parameters alone, "ED" over `prior` {name: (SD, whether relative)}.
    samples: how many, or {arm: how many}. times: candidates in h. windows: (low, high) in h, one for all samples or one for
        each, within which times are continuous. spacing: h. Without any of them the columns TMIN and TMAX say where.
    observables: those whose samples are placed (together); the study's other samples stay.
    arms: the data's column by which subjects may differ in schedule. subjects: in all, or {arm: number}.
    split_patients: also the best split over several schedules. etas: draws of η for "foce".
    rse, power: wanted relative standard errors, or powers of the test that a parameter is 0, as fractions by name.
    exact: the information by simulation, of `replicates` subjects of each kind, by the marginal likelihood `marginal`.

    Raises `BadInput`, `WrongUsage`; `ScienceFailed` where a design cannot tell parameters, which it names.
    """
    begun = time.perf_counter()
    loaded = study if isinstance(study, Study) else load_study(study, settings=settings, solver=solver, planned=True)
    layout = loaded.problem.structure.layout
    if not layout.etas:
        raise BadInput(
            "has no random effects, so there is no population to design for",
            where=str(loaded.folder / "fit.toml"),
            hint="give a parameter `iiv`, the variance of its η",
        )
    _refuse_what_is_not_normal(loaded)
    psi = np.asarray(loaded.problem.initial_unconstrained)
    here = build_coordinates(loaded, psi)
    chosen, wanted = _criterion(criterion, interest, prior, here)
    for name, known in ((form, FORMS), (approximation, APPROXIMATIONS)):
        if name not in known:
            raise WrongUsage(f"`{name}` is not one of {', '.join(known)}", hint=did_you_mean(name, known))
    at = {"form": form, "approximation": approximation, "etas": etas, "interest": wanted, "seed": seed}
    local = _around(loaded, psi[None], **at)
    many = local
    if chosen == "ED":
        many = _around(loaded, draw_from_prior(loaded, here.names, prior or {}, draws, seed), **at)
    needs = _needs(rse, power, here)

    optimising = optimise or samples is not None or times is not None or bool(windows)
    own_people = scale_counts(group_profiles(loaded, arms, ()), subjects)
    warnings = _left_out(loaded)
    if not optimising:
        information = _information(loaded, own_people, {}, (), local)
        refuse_singular(information[0], here.names)
        told = information if many is local else _information(loaded, own_people, {}, (), many)
        best = _worth(told, wanted)
        placed, people, own_value, own = {}, own_people, best, information[0]
        schedules, final_times = _as_they_are(loaded, own_people, arms), dict[str, np.ndarray]()
        bound = None
    else:
        placed = select_observables(loaded, observables)
        people = scale_counts(group_profiles(loaded, arms, placed), subjects)
        given = None if times is None else np.unique(np.asarray(times, float))
        space = build_space(loaded, list_study_times(loaded, people, arms, placed), placed, samples, given, windows, spacing)
        progress(f"moments at {max(map(len, space.times.values()))} candidate times")
        judge = _judge(loaded, people, space.times, placed, many)
        space = _with_variance(judge, space, warnings)
        if split_patients:
            progress("split over several schedules")
            schedules, bound, best, information = _split(judge, space, people, placed, wanted, loaded, local, warnings)
            final_times = {}
        else:
            best, final_times, information = _one_schedule(
                judge, space, placed, starts, seed, many, local, loaded, people, progress
            )
            bound = _bound(judge, space)
            schedules = _schedules(people, final_times, placed)
        refuse_singular(information[0], here.names)
        own = _own(loaded, own_people, local)
        own_value = None if own is None else _worth(own[None], wanted)
        if own is not None and many is not local:
            own_value = _worth(_information(loaded, own_people, {}, (), many), wanted)

    table = _table(here, information[0], own)
    total = float(sum(p.count for p in people))
    worked = None
    if exact:
        if split_patients and optimising:
            raise WrongUsage("--exact is for one schedule an arm", hint="leave --split out")
        worked = _exact(loaded, people, final_times, placed, psi, here, wanted, marginal, replicates, seed, progress)
    size = count_parameters_of_interest(len(here.names), wanted)
    return Design(
        study=loaded.name,
        criterion=chosen,
        interest=tuple(interest),
        form=form,
        approximation=approximation,
        value=best,
        own_value=own_value if own_value is None or np.isfinite(own_value) else None,
        subjects=total,
        schedules=tuple(schedules),
        parameters=table,
        information=pd.DataFrame(information[0], index=list(here.names), columns=list(here.names)),
        optimised=optimising,
        needed=tuple(_needed(table, total, kind, name, goal) for kind, name, goal in needs),
        at_most=bound,
        efficiency=None if bound is None else float(np.exp((best - bound) / size)),
        exact=worked,
        warnings=tuple(warnings),
        seconds=time.perf_counter() - begun,
        settings={
            "seed": seed,
            "starts": starts,
            "spacing": spacing,
            "draws": len(many.psi),
            "etas": many.eta.shape[1],
        },
    )


def _refuse_what_is_not_normal(study: Study) -> None:
    where = str(study.folder / "fit.toml")
    for e in study.problem.structure.endpoints:
        if not e.is_continuous or e.correlation_name:
            what = "its residuals are correlated" if e.is_continuous else "it is not a continuous observation"
            raise BadInput(f"`{e.name}`: {what}, and a design takes independent normal residuals", where=where)
    if study.problem.structure.classes > 1:
        raise BadInput("a mixture of populations has no first-order information", where=where)


def _left_out(study: Study) -> list[str]:
    """What the study holds and its expected information does not."""
    spec, found = study.problem.structure, []
    if spec.priors:
        found.append("the study's priors are left out: the information is that of the data alone")
    if any(getattr(e, "has_limits", False) for e in spec.endpoints):
        found.append("limits of quantification are left out: every sample counts as quantified")
    return found


def _criterion(name: str, interest: Sequence[str], prior, here: DesignCoordinates) -> tuple[str, tuple[int, ...]]:
    known = {c.lower(): c for c in CRITERIA}
    if name.lower() not in known:
        raise WrongUsage(f"no criterion `{name}`", hint=" or ".join(CRITERIA))
    chosen = known[name.lower()]
    if chosen == "Ds" and not interest:
        raise WrongUsage("Ds needs the parameters of interest", hint=f"--interest {here.names[0]}")
    if chosen == "D" and interest:
        raise WrongUsage("D is for all parameters", hint="--criterion Ds for those of interest")
    if (chosen == "ED") != bool(prior):
        raise WrongUsage(
            "ED needs a prior" if chosen == "ED" else f"{chosen} has no prior",
            hint=f"--criterion ED --prior {here.names[0]}=30%",
        )
    return chosen, tuple(dict.fromkeys(here.find_index(n) for n in interest))


def _needs(rse, power, here: DesignCoordinates) -> list[tuple[str, str, float]]:
    found = [("rse", n, g) for n, g in (rse or {}).items()] + [("power", n, g) for n, g in (power or {}).items()]
    for kind, name, goal in found:
        here.find_index(name)
        if not (goal > 0 and (kind == "rse" or goal < 1)):
            raise WrongUsage(
                f"{name}: a {'relative error' if kind == 'rse' else 'power'} of {100 * goal:g} % cannot be wanted"
            )
        if here.value[here.find_index(name)] == 0:
            raise BadInput(
                f"`{name}` is 0 here: no relative error, no power", hint="give the effect as its initial value"
            )
    return found


def _around(study: Study, psi: np.ndarray, *, form, approximation, etas, interest, seed) -> LinearisationPoints:
    """The points to linearise at: η = 0, or draws of η that all profiles share."""
    from scipy.stats import norm, qmc

    layout, initial = study.problem.structure.layout, np.asarray(study.problem.initial)
    omegas = [np.asarray(layout.unpack(jnp.asarray(x), jnp.asarray(initial))[1]) for x in psi]
    q = len(omegas[0])
    eta = np.zeros((len(psi), 1, q))
    if approximation == "foce":
        sobol = qmc.Sobol(q, seed=np.random.default_rng(seed + 1))
        u = sobol.random_base2(max(int(np.ceil(np.log2(etas))), 0))[:etas]
        z = norm.ppf(np.clip(u, 1e-9, 1 - 1e-9))
        eta = np.stack([z @ np.linalg.cholesky(w).T for w in omegas])
    to = np.stack([build_coordinates(study, x).psi_per_coordinate for x in psi])
    return LinearisationPoints(psi, eta, to, form, approximation == "fo", interest)


@partial(jax.jit, static_argnames=("form", "centred"))
def _all_moments(problem: Problem, psi, eta, *, form: str, centred: bool) -> ObservationMoments:
    """With the axes D and S in front; `eta` (D, S, q)."""

    def draw(point):
        psi, eta = point

        def one(e):
            return compute_moments(problem, psi, jnp.broadcast_to(e[:, None], (*e.shape, problem.subjects)), form, centred)

        return jax.lax.map(one, eta)

    return jax.lax.map(draw, (psi, eta))


def _judge(study: Study, people: Sequence[SubjectProfile], times, observables: Sequence[str], around: LinearisationPoints) -> CandidateInformation:
    here = build_candidates(study, people, times, observables)
    found = _all_moments(here.problem, around.psi, around.eta, form=around.form, centred=around.centred)
    result = np.asarray(found.result)
    if (result != 0).any():
        bad = int(result[result != 0][0])
        raise ScienceFailed("a subject of the design cannot be predicted", why=explain(bad), where=f"fits/{study.name}")
    return CandidateInformation(here, found, around.psi_per_coordinate, around.interest)


def _information(study: Study, people, times, observables, around: LinearisationPoints) -> np.ndarray:
    """(D, P, P) of the design in which every arm takes all of its `times`."""
    judge = _judge(study, people, times, observables, around)
    return _of_all(judge, {p.arm: np.arange(len(times.get(p.arm, ()))) for p in people})


def _of_all(judge: CandidateInformation, choice: Mapping[str, np.ndarray]) -> np.ndarray:
    _check_variance(judge, choice)
    return np.sum([judge.compute_arm(a, np.asarray(c)[None])[0] for a, c in choice.items()], axis=0)


def _check_variance(judge: CandidateInformation, choice: Mapping[str, np.ndarray]) -> None:
    """A prediction of zero has no proportional error, and would seem to tell everything."""
    r = np.asarray(judge.moments.r).min(axis=(0, 1))
    for arm, c in choice.items():
        for lane, rows in zip(judge.candidates.find_lanes(arm), judge.candidates.select_rows(arm, c), strict=True):
            if not (r[rows[rows >= 0], lane] > 0).all():
                raise ScienceFailed(
                    "an observation without residual variance: its prediction is 0 and its error proportional",
                    where=f"subject {judge.candidates.profiles[lane].frame['ID'].iloc[0]}",
                    hint='use model = "combined2", or leave that sample out (MDV = 1)',
                )


def _with_variance(judge: CandidateInformation, space: SamplingSpace, warnings: list[str]) -> SamplingSpace:
    """Candidates at which a prediction is 0 under a proportional error are taken off the windows, and said."""
    r = np.asarray(judge.moments.r).min(axis=(0, 1))
    for arm, times in space.times.items():
        worst = np.full(len(times), np.inf)
        for lane in judge.candidates.find_lanes(arm):
            rows = judge.candidates.candidate_rows[lane, : len(times)]
            worst = np.minimum(worst, r[rows, lane].min(axis=1))
        if not (bad := worst <= 0).any():
            continue
        if bad.all():
            raise ScienceFailed("every candidate time has a prediction of 0 under a proportional error")
        listed = ", ".join(f"{t:g}" for t in times[bad][:5])
        warnings.append(f"no sample at {listed} h: a prediction of 0 has no proportional error")
        low = float(times[~bad].min())
        windows = {**space.windows, arm: tuple((max(a, low), max(b, low)) for a, b in space.windows[arm])}
        space = replace(space, windows=windows)
    return space


def _worth(m: np.ndarray, interest: tuple[int, ...]) -> float:
    from pbpk.optimal_design.criteria import compute_mean_criterion

    return float(compute_mean_criterion(jnp.asarray(m), interest))


def _own(study: Study, people: Sequence[SubjectProfile], around: LinearisationPoints) -> np.ndarray | None:
    """The information of the study as it stands, or None where it tells not all parameters."""
    try:
        found = _information(study, people, {}, (), around)[0]
    except ScienceFailed:
        return None
    return found if np.isfinite(_worth(found[None], ())) else None


def _one_schedule(
    judge: CandidateInformation, space: SamplingSpace, placed, starts, seed, many: LinearisationPoints, local: LinearisationPoints, study, people, progress
):
    """The best times of each arm, their criterion, and the information at the study's own values."""
    progress(f"exchange from {starts} starts")
    found = exchange_times(judge, space, starts, seed)
    best, choice = found[0]
    times = {a: space.times[a][c] for a, c in choice.items()}
    if best > -np.inf and not space.is_grid:
        best, times = _refined(study, people, placed, space, found, many, progress)
    if space.is_grid and many is local:
        return best, times, _of_all(judge, choice)
    return best, times, _information(study, people, times, placed, local)


def _refined(study, people, observables, space: SamplingSpace, found, around: LinearisationPoints, progress):
    best, times = -np.inf, {}
    seen: set[tuple] = set()
    for value, choice in found:
        key = tuple(np.sort(c).tobytes() for c in choice.values())
        if key in seen or len(seen) == 3 or value == -np.inf:
            continue
        seen.add(key)
        progress(f"continuous times from start {len(seen)}")
        begin = {a: space.times[a][c] for a, c in choice.items()}
        worth, moved = refine_times(study, people, observables, space, begin, around)
        if worth < value:
            worth, moved = value, begin
        if worth > best:
            best, times = worth, moved
    return best, {a: np.sort(t) if space.has_common_window(a) else t for a, t in times.items()}


def _bound(judge: CandidateInformation, space: SamplingSpace) -> float | None:
    """What no design on the grid exceeds, split or not, where its elementary designs can be counted out."""
    size = sum(space.count_elementary_designs(a) * len(judge.candidates.find_lanes(a)) for a in space.times)
    if size > _ELEMENTARY or not all(map(space.has_common_window, space.times)):
        return None
    try:
        return optimise_split(judge, {a: space.list_elementary_designs(a, _ELEMENTARY) for a in space.times}).bound
    except ScienceFailed:
        return None


def _split(judge: CandidateInformation, space: SamplingSpace, people, observables, interest, study, local: LinearisationPoints, warnings: list[str]):
    """Schedules with whole subjects, the bound, the criterion, and the information at the study's own values."""
    designs = {a: space.list_elementary_designs(a, _ELEMENTARY // len(judge.candidates.find_lanes(a))) for a in space.times}
    if any(len(np.unique(e)) < space.mark_inside(a, 0).sum() for a, e in designs.items()):
        warnings.append("too many schedules to count out: the split is over those of a thinned grid of times")
    found = optimise_split(judge, designs)
    same = _judge(study, people, space.times, observables, local)
    schedules, told, here = [], np.zeros_like(judge.psi_per_coordinate), np.zeros_like(local.psi_per_coordinate)
    for arm, weights in found.weights.items():
        subjects = sum(p.count for p in people if p.arm == arm)
        whole = round_subjects(weights, round(subjects))
        for k in np.flatnonzero(whole):
            share = whole[k] / whole.sum()
            told = told + share * judge.compute_arm(arm, designs[arm][k][None])[0]
            here = here + share * same.compute_arm(arm, designs[arm][k][None])[0]
            picked = tuple(float(t) for t in space.times[arm][designs[arm][k]])
            schedules.append(ArmSchedule(arm, int(whole[k]), tuple(observables), picked))
    schedules.sort(key=lambda s: (s.arm, -s.subjects))
    return schedules, found.bound, _worth(told, interest), here


def _schedules(people: Sequence[SubjectProfile], times: Mapping[str, np.ndarray], observables) -> list[ArmSchedule]:
    counts = {a: sum(p.count for p in people if p.arm == a) for a in times}
    return [ArmSchedule(a, counts[a], tuple(observables), tuple(float(x) for x in t)) for a, t in times.items()]


def _as_they_are(study: Study, people: Sequence[SubjectProfile], arms: str | None) -> list[ArmSchedule]:
    found = []
    counts = {p.arm: 0.0 for p in people}
    for p in people:
        counts[p.arm] += p.count
    for name in dict.fromkeys(e.name for e in study.problem.structure.endpoints):
        for arm, every in list_study_times(study, people, arms, (name,)).items():
            same = len({t.tobytes() for t in every}) == 1
            if any(len(t) for t in every):
                shown = tuple(float(x) for x in every[0]) if same else None
                found.append(ArmSchedule(arm, counts[arm], (name,), shown))
    return found


def _table(here: DesignCoordinates, m: np.ndarray, own: np.ndarray | None) -> pd.DataFrame:
    se = np.sqrt(np.diag(here.compute_covariance(m)))
    before = np.full(len(se), np.nan) if own is None else np.sqrt(np.diag(here.compute_covariance(own)))
    size = np.where(here.value == 0, np.nan, np.abs(here.value))
    effect = np.array([label.startswith("effect of ") for label in here.labels])
    power = [compute_wald_power(v, s) if e and v else np.nan for v, s, e in zip(here.value, se, effect, strict=True)]
    return pd.DataFrame(
        {
            "name": here.names,
            "label": here.labels,
            "unit": here.units,
            "value": here.value,
            "se": se,
            "rse": 100 * se / size,
            "own_rse": 100 * before / size,
            "power": power,
        }
    )


def _needed(table: pd.DataFrame, subjects: float, kind: str, name: str, goal: float) -> dict[str, Any]:
    value, se, rse = (float(x) for x in table.loc[table["name"] == name, ["value", "se", "rse"]].to_numpy()[0])
    n = (
        count_patients_for_error(rse / 100, subjects, goal)
        if kind == "rse"
        else count_patients_for_power(value, se, subjects, goal)
    )
    return {"parameter": name, "wanted": kind, "goal": goal, "subjects": n}


def _exact(
    study, people, times, observables, psi, here, interest, marginal, replicates, seed, progress
) -> dict[str, Any]:
    if replicates < 40:
        raise WrongUsage(f"{replicates} replicates give no Monte-Carlo error", hint="--replicates 1000")
    lanes = max(1, min(_LANES // len(people), replicates // 20))
    many = repeat_profiles(people, lanes)
    problem: CandidateSamples = build_candidates(study, many, times, observables)
    rounds = -(-replicates // lanes)
    found = estimate_exact_information(
        problem.problem,
        problem.counts,
        psi,
        here,
        lambda m: _worth(m[None], interest),
        marginal=marginal,
        replicates=rounds,
        seed=seed,
        progress=lambda done, of: (
            progress(f"simulated {done * lanes} of {of * lanes} subjects of each kind")
            if done == of or done % max(of // 5, 1) == 0
            else None
        ),
    )
    return {
        "marginal": found.marginal,
        "replicates": rounds * lanes,
        "value": found.criterion,
        "value_error": found.criterion_error,
        "standard_errors": dict(zip(here.names, found.se.tolist(), strict=True)),
        "monte_carlo_errors": dict(zip(here.names, found.se_error.tolist(), strict=True)),
        "mean_score_z": found.mean_score_z,
        "lost": found.without_mode,
    }
