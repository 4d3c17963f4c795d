"""Many starts of one estimation, because a likelihood may have several minima and a search finds the nearest.

The starting values of a fit.toml come first; the others are a Latin hypercube around them in ψ (McKay, Beckman & Conover 1979).
All searches run side by side in one compiled program (parallel_objective.py), to convergence; the method itself then finishes
from the lowest. The same seed gives the same starts and the same digits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.errors import ScienceFailed, WrongUsage
from pbpk.estimation import weighted_descent as descent
from pbpk.estimation.descent_rules import invert_scores
from pbpk.estimation.methods import list_methods_with
from pbpk.estimation.parallel_objective import ParallelObjective, Search
from pbpk.estimation.quasi_newton import sum_objective
from pbpk.estimation.run import Callbacks, run_fit, run_iterations
from pbpk.estimation.start import StartingValues, apply_starting_values
from pbpk.estimation.state import CONVERGED, EstimationState, IterationRecord
from pbpk.likelihood.evaluation import Evaluation
from pbpk.study.kinds import find_study_kind

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod
    from pbpk.estimation.result import Fit
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

THETA_FACTOR, SPREAD_FACTOR = 5.0, 3.0  # of a θ and of a standard deviation, either way at most
_LOGIT_WIDTH = 2.0  # for a θ between bounds, either way
_SAME_MINIMUM = 0.1  # OFV, and distance in ψ, within which two outcomes are the same minimum
_MOST_LANES = 16  # searches side by side: beyond, a processor gains nothing


@dataclass(frozen=True, eq=False)
class StartOutcome:
    """Where the search from start `number` ended and why: from ψ `began` (P,) to ψ `psi` (P,) with that OFV. `cause` is
    `converged` or what kept it from that. ends.npz has these fields."""

    number: int
    began: np.ndarray
    psi: np.ndarray
    ofv: float
    cause: str
    iterations: int

    @property
    def converged(self) -> bool:
        """Whether the search ended at a minimum with a finite OFV."""
        return self.cause == CONVERGED and math.isfinite(self.ofv)


StartProgress = Callable[[list[StartOutcome], int], None]


def compute_start_widths(study: Study, problem: Problem) -> np.ndarray:
    """How far starts lie from the initial ψ, at most, either way: (P,)."""
    layout, out = problem.structure.layout, []
    for i, t in enumerate(layout.thetas):
        if t.fixed:
            continue
        low, high = t.interval
        if math.isinf(low) and math.isinf(high):
            out.append(max(abs(float(problem.initial[i])), float(study.scale[i])))
        else:
            out.append(_LOGIT_WIDTH if math.isfinite(low) and math.isfinite(high) else math.log(THETA_FACTOR))
    for block in layout.blocks:
        if not block.fixed:
            rows, columns = np.tril_indices(len(block.etas))
            out += [math.log(SPREAD_FACTOR) if r == c else 0.0 for r, c in zip(rows, columns, strict=True)]
    out += [math.log(SPREAD_FACTOR) for s in layout.sigmas if s not in layout.fixed_sigmas]
    return np.array(out)


def draw_starts(study: Study, problem: Problem, starts: int, seed: int) -> np.ndarray:
    """ψ of each start (starts, P), the study's own first."""
    from scipy.stats import qmc

    psi0 = np.asarray(problem.initial_unconstrained)
    if starts == 1:
        return psi0[None]
    cube = qmc.LatinHypercube(len(psi0), rng=np.random.default_rng(seed)).random(starts - 1)
    return np.vstack([psi0, psi0 + (2 * cube - 1) * compute_start_widths(study, problem)])


def run_multistart(
    study: Study,
    method: EstimationMethod,
    starts: int,
    *,
    seed: int = 1,
    start: StartingValues | None = None,
    known_outcomes: list[StartOutcome] | None = None,
    progress: StartProgress = lambda outcomes, of: None,
    callbacks: Callbacks | None = None,
) -> Fit:
    """The fit from the lowest outcome of so many `starts`, with a table of all of them.

    `start` moves the first start, `known_outcomes` are those of an interrupted run, and `progress(outcomes, starts)` sees the
    list grow. Raises `WrongUsage` for a method that does not minimise an objective by its exact gradient and for aggregates,
    `ScienceFailed` where no start ends with a finite OFV.
    """
    callbacks = callbacks or Callbacks()
    kind = find_study_kind(study.spec)
    if not method.minimises_objective or kind is not None:
        raise WrongUsage(
            f"{method.name} does not search from several starts" if kind is None else "aggregates have one start",
            why="that takes a method with an objective and its exact gradient, and individual data",
            hint=f"one of {', '.join(list_methods_with('minimises_objective'))}",
        )
    if start is not None:
        study, _ = apply_starting_values(study, start)
    method = method.configure(study.spec.estimation, seed)
    problem, clock = method.prepare(study.problem), time.perf_counter()
    psis = draw_starts(study, problem, starts, seed)
    outcomes = _search_from_starts(method, problem, psis, known_outcomes or [], progress)
    finite = [e for e in outcomes if math.isfinite(e.ofv)]
    if not finite:
        raise ScienceFailed(
            f"the objective is not finite at any of {starts} starts",
            where=f"fits/{study.name}",
            hint="start nearer to what the data say:  --set CL=…",
        )
    best = min(finite, key=lambda e: (not e.converged, e.ofv, e.number))
    resumed = _polish(method, problem, best, callbacks)
    search_seconds = {"starts": time.perf_counter() - clock}
    callbacks = replace(callbacks, on_iteration=lambda state, iterations: None)  # it has seen these iterations
    fit = run_fit(study, method, resume=resumed, callbacks=callbacks, seed=seed)
    return _add_start_table(study, problem, replace(fit, seconds=search_seconds | fit.seconds), outcomes)


def _search_from_starts(
    method: EstimationMethod,
    problem: Problem,
    psis: np.ndarray,
    known_outcomes: list[StartOutcome],
    progress: StartProgress,
) -> list[StartOutcome]:
    """The outcome of each start ψ of `psis` (starts, P), in their order; those that are known are not searched again."""
    outcomes = list(known_outcomes)
    eta = np.zeros((len(problem.structure.layout.etas), problem.columns))
    objective = ParallelObjective(method, problem, min(_MOST_LANES, len(psis)))
    spreads = tuple(problem.structure.layout.log_sd_positions)
    weighted_study = descent.WeightedStudy(
        np.ones(problem.subjects), problem.observed, np.asarray(problem.initial_unconstrained), spreads
    )
    known_numbers = {e.number for e in outcomes}
    searches = (
        (k, _search_from(weighted_study, psi, eta)) for k, psi in enumerate(psis, start=1) if k not in known_numbers
    )
    for number, (psi, outcome) in objective.run_searches(searches):
        outcomes.append(StartOutcome(number, psi, outcome.psi, outcome.ofv, outcome.cause, outcome.iterations))
        progress(outcomes, len(psis))
    return sorted(outcomes, key=lambda e: e.number)


def _search_from(
    weighted_study: descent.WeightedStudy, psi: np.ndarray, eta: np.ndarray
) -> Search[tuple[np.ndarray, descent.SearchOutcome]]:
    """ψ of the start, and where the search from it ended; never raises for a search that fails."""
    point = yield from weighted_study.evaluate_at(psi, eta)
    if not point.is_finite:
        return psi, descent.SearchOutcome(psi, math.nan, "the objective is not finite at the start")
    try:
        outcome = yield from descent.minimise_ofv(
            weighted_study, psi, point.eta, invert_scores(point.weighted_gradients)
        )
    except np.linalg.LinAlgError as e:
        outcome = descent.SearchOutcome(psi, math.nan, f"a matrix could not be inverted ({e})")
    return psi, outcome


def _polish(
    method: EstimationMethod, problem: Problem, best: StartOutcome, callbacks: Callbacks
) -> tuple[EstimationState, list[IterationRecord]]:
    """The method's own iterations from the best outcome: one or two, whose state holds what standard errors need."""
    eta = np.zeros((len(problem.structure.layout.etas), problem.columns))
    e = Evaluation(*(np.asarray(x) for x in method.evaluate(problem, best.psi, eta)))
    ofv, inverse = sum_objective(problem, best.psi, e.objective), invert_scores(e.gradient)
    state = EstimationState(best.psi, ofv, e.objective, e.gradient, e.eta, inverse=inverse, evaluations=1, good=e.good)
    iterations: list[IterationRecord] = []
    callbacks.on_iteration(state, iterations)
    return run_iterations(method, problem, state, iterations, callbacks), iterations


def _add_start_table(study: Study, problem: Problem, fit: Fit, outcomes: list[StartOutcome]) -> Fit:
    """The fit with starts.csv (where each start began and ended, in shown units), counts, notes and warnings."""
    layout = problem.structure.layout
    initial = jnp.asarray(problem.initial)
    scale = np.asarray(study.scale)[[study.problem.structure.layout.names.index(n) for n in layout.names]]
    rows = []
    for e in outcomes:
        natural = np.asarray(layout.to_natural(jnp.asarray(e.psi), initial)) / scale
        began = np.asarray(layout.to_natural(jnp.asarray(e.began), initial)) / scale
        head = {"start": e.number, "ofv": e.ofv, "converged": e.converged, "cause": e.cause, "iterations": e.iterations}
        first = {f"start_{n}": float(x) for n, x in zip(layout.names, began, strict=True)}
        rows.append(head | {n: float(x) for n, x in zip(layout.names, natural, strict=True)} | first)
    counts, notes, warnings = describe_starts(outcomes, fit.ofv, sum(not t.fixed for t in layout.thetas))
    about = (
        "Starts: the study's own initial values, and a Latin hypercube around them: θ by factors up to"
        f" {THETA_FACTOR:g} either way, standard deviations of random effects and residuals by up to {SPREAD_FACTOR:g}."
    )
    extra: Mapping[str, Any] = {
        "multistart": counts | {"spread": {"theta": THETA_FACTOR, "standard_deviations": SPREAD_FACTOR}}
    }
    earlier_notes = list(fit.extra.get("notes", []))
    return replace(
        fit,
        warnings=(*fit.warnings, *warnings),
        extra={**fit.extra, **extra, "notes": [*earlier_notes, *notes, about]},
        files={**fit.files, "starts.csv": pd.DataFrame(rows)},
    )


def describe_starts(
    outcomes: list[StartOutcome], lowest: float, thetas: int
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Counts, a sentence for the reader, and what warns of minima that are not one. The first `thetas` of ψ are θ, which tell
    minima apart: a variance at zero has no one place in ψ."""
    converged = sorted((e for e in outcomes if e.converged), key=lambda e: (e.ofv, e.number))
    lowest_outcomes = [e for e in converged if e.ofv <= lowest + _SAME_MINIMUM]
    other_minima: list[list[StartOutcome]] = []
    for e in (e for e in converged if e.ofv > lowest + _SAME_MINIMUM):
        for group in other_minima:
            if abs(group[0].ofv - e.ofv) <= _SAME_MINIMUM:
                group.append(e)
                break
        else:
            other_minima.append([e])
    failed = len(outcomes) - len(converged)
    sentences = [
        f"{len(lowest_outcomes)} of {len(outcomes)} starts ended within {_SAME_MINIMUM} of the lowest OFV, {lowest:.3f}"
    ]
    if other_minima:
        other_ofvs = ", ".join(f"{g[0].ofv:.3f}" for g in other_minima[:5]) + (", …" if len(other_minima) > 5 else "")
        minima = "minimum" if len(other_minima) == 1 else "minima"
        sentences.append(f"{sum(map(len, other_minima))} at {len(other_minima)} higher {minima} (OFV {other_ofvs})")
    if failed:
        sentences.append(f"{failed} did not converge")
    warnings = []
    farthest_apart = max(
        (float(np.abs(e.psi - lowest_outcomes[0].psi)[:thetas].max(initial=0.0)) for e in lowest_outcomes), default=0.0
    )
    if farthest_apart > _SAME_MINIMUM:
        warnings.append("starts that ended at the same OFV have other estimates: the data do not decide (starts.csv)")
    if len(lowest_outcomes) == 1 and len(outcomes) > 1:
        warnings.append(f"only one of {len(outcomes)} starts reached the lowest OFV: there may be a lower one")
    counts = {
        "starts": len(outcomes),
        "within_0.1": len(lowest_outcomes),
        "other_minima": [{"ofv": g[0].ofv, "starts": len(g)} for g in other_minima],
        "not_converged": failed,
    }
    return counts, ["; ".join(sentences) + "."], warnings
