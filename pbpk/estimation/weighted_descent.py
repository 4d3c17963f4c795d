"""Minimising Σ w_i·OFV_i(ψ) (+ penalty) from a known optimum: descent_rules.py, as a search for parallel_objective.py.

Weights w (N,) count how often a subject was drawn, so that a resampled study needs no program of its own. The first inverse
Hessian is the finished fit's. A step that loses the mode of a subject with a weight is refused, as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pbpk.estimation import descent_rules as rules
from pbpk.estimation.parallel_objective import EvaluationRequest, ObjectiveValues, Search
from pbpk.estimation.state import CONVERGED, ITERATION_LIMIT, STALLED

_ENOUGH, _FARTHEST, _MOST = rules.SMALLEST_FALL, rules.LONGEST_STEP, rules.MOST_ITERATIONS
_VANISHED, _RESTORED = rules.VANISHED, rules.RESTORED


@dataclass(frozen=True, eq=False)
class SearchPoint:
    """An evaluation with its weights applied: OFV, its gradient (P,), η. `weighted_gradients` (P, those drawn): gradients of
    subjects by √w, for scores; `failed` (N,): subjects with a weight that have no mode."""

    psi: np.ndarray
    ofv: float
    gradient: np.ndarray
    weighted_gradients: np.ndarray
    eta: np.ndarray
    failed: np.ndarray

    @property
    def is_finite(self) -> bool:
        """Whether the point has an OFV and a gradient."""
        return bool(np.isfinite(self.ofv) and np.isfinite(self.gradient).all())


@dataclass(frozen=True, eq=False)
class WeightedStudy:
    """What is fitted: weights (N,), what was observed (`Problem.observed`), and the starting values and positions in ψ of
    standard deviations that say when a random effect has vanished."""

    weights: np.ndarray
    observed: Any
    initial_psi: np.ndarray
    log_sd_positions: tuple[int, ...]

    def evaluate_at(self, psi: np.ndarray, eta: np.ndarray) -> Search[SearchPoint]:
        """The point at ψ (P,), its modes sought from η (q, N)."""
        values = yield EvaluationRequest(psi, eta, self.observed)
        return self.apply_weights(psi, values)

    def apply_weights(self, psi: np.ndarray, values: ObjectiveValues) -> SearchPoint:
        """The point of an evaluation at ψ."""
        is_drawn = self.weights > 0  # one left out may have no finite objective, and 0·∞ is not 0
        w, each = self.weights[is_drawn], values.gradient[:, is_drawn]
        with np.errstate(all="ignore"):  # a trial may go where some likelihood overflows; `is_finite` sees it
            ofv, gradient = float(w @ values.objective[is_drawn] + values.penalty), each @ w + values.penalty_gradient
            return SearchPoint(psi, ofv, gradient, each * np.sqrt(w), values.eta, is_drawn & ~values.good)


@dataclass(frozen=True, eq=False)
class SearchOutcome:
    """Where a search ended and why: `cause` is `converged`, or what kept it from converging."""

    psi: np.ndarray
    ofv: float
    cause: str
    iterations: int = 0
    evaluations: int = 0
    failed_subjects: tuple[int, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the search ended at an optimum."""
        return self.cause == CONVERGED


def minimise_ofv(study: WeightedStudy, psi: np.ndarray, eta: np.ndarray, inverse: np.ndarray) -> Search[SearchOutcome]:
    """The search for the optimum of a weighted study, from ψ (P,) and η (q, N) with that inverse Hessian of the OFV."""
    point = yield from study.evaluate_at(psi, eta)
    evaluations, iteration = 1, 0
    if not point.is_finite:
        return SearchOutcome(psi, point.ofv, "the objective is not finite at the start", 0, 1)
    while True:
        direction = -inverse @ point.gradient
        slope = float(point.gradient @ direction)
        promised = -slope / 2
        if promised >= _ENOUGH and iteration >= _MOST:
            return _make_outcome(point, ITERATION_LIMIT, iteration, evaluations)
        new, tried = None, 0
        if promised >= _ENOUGH:
            new, tried = yield from _search_line(study, point, direction, slope)
        evaluations += tried
        if new is not None:
            inverse = rules.update_inverse(inverse, new.psi - point.psi, new.gradient - point.gradient)
            point, iteration = new, iteration + 1
            continue
        if promised >= 1e-4:  # more than the objective cannot resolve: the curvature is to blame, if it is not fresh
            fresh = rules.invert_scores(point.weighted_gradients)
            if np.allclose(fresh, inverse):
                return _make_outcome(point, STALLED, iteration, evaluations)
            inverse, iteration = fresh, iteration + 1
            continue
        better, tried = yield from _restore_vanished_effects(study, point)
        evaluations += tried
        if better is None or iteration >= _MOST:
            return _make_outcome(point, CONVERGED, iteration, evaluations)
        point, inverse, iteration = better, rules.invert_scores(better.weighted_gradients), iteration + 1


def _search_line(
    study: WeightedStudy, point: SearchPoint, direction: np.ndarray, slope: float
) -> Search[tuple[SearchPoint | None, int]]:
    """A point along `direction` with a sufficiently lower OFV, None where there is none; and how many were tried."""
    length = min(1.0, _FARTHEST / float(np.abs(direction).max()))
    for tried in range(1, 31):
        trial = yield from study.evaluate_at(point.psi + length * direction, point.eta)
        falls = trial.ofv < point.ofv and trial.ofv <= point.ofv + 1e-4 * length * slope
        if falls and trial.is_finite and not (trial.failed & ~point.failed).any():
            return trial, tried
        length *= rules.shorten_step(point.ofv, trial.ofv, slope, length)
    return None, 30


def _restore_vanished_effects(study: WeightedStudy, point: SearchPoint) -> Search[tuple[SearchPoint | None, int]]:
    """A better point with a vanished random effect at a tenth of where it started, if there is one; and how many were tried."""
    best, tried = point, 0
    for k in study.log_sd_positions:
        if point.psi[k] > study.initial_psi[k] - _VANISHED:
            continue
        psi = best.psi.copy()
        psi[k] = study.initial_psi[k] - _RESTORED
        trial, tried = (yield from study.evaluate_at(psi, best.eta)), tried + 1
        if trial.ofv < best.ofv - 1e-3 and trial.is_finite and not (trial.failed & ~best.failed).any():
            best = trial
    return (None if best is point else best), tried


def _make_outcome(point: SearchPoint, cause: str, iteration: int, evaluations: int) -> SearchOutcome:
    """The end of a search. A point without some subject's mode is no optimum of the likelihood, and its cause says so."""
    failed = tuple(int(i) for i in np.flatnonzero(point.failed))
    if failed and cause == CONVERGED:
        cause = "no individual optimum values"
    return SearchOutcome(point.psi, point.ofv, cause, iteration, evaluations, failed)
