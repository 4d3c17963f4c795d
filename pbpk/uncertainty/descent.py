"""Minimising Σ w_i·OFV_i(ψ) (+ penalty) from a known optimum: quasi_newton.py's rules, as a search for parallel_searches.py.

Weights w (N,) count how often a subject was drawn, so that a resampled study needs no program of its own. The first inverse
Hessian is the finished fit's. A step that loses the mode of a subject with a weight is refused, as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pbpk.estimation import quasi_newton as rules
from pbpk.estimation.base import CONVERGED, LIMIT, STALLED
from pbpk.uncertainty.parallel_searches import Ask, Found, Search

_ENOUGH, _FARTHEST, _MOST = rules._ENOUGH, rules._FARTHEST, rules._MOST
_VANISHED, _RESTORED = rules._VANISHED, rules._RESTORED


@dataclass(frozen=True, eq=False)
class Point:
    """An evaluation with its weights applied. `each` (P, N): the subjects' gradients by √w, for scores."""

    psi: np.ndarray
    ofv: float
    gradient: np.ndarray
    each: np.ndarray
    eta: np.ndarray
    lost: np.ndarray

    @property
    def sound(self) -> bool:
        return bool(np.isfinite(self.ofv) and np.isfinite(self.gradient).all())


@dataclass(frozen=True, eq=False)
class Study:
    """What is fitted: weights (N,), what was observed (`Problem.observed`), and the starting values and
    coordinates `spreads` that say when a random effect has vanished."""

    weights: np.ndarray
    observed: Any
    psi0: np.ndarray
    spreads: tuple[int, ...]

    def measure(self, psi: np.ndarray, eta: np.ndarray) -> Search[Point]:
        found = yield Ask(psi, eta, self.observed)
        return self.weighed(psi, found)

    def weighed(self, psi: np.ndarray, found: Found) -> Point:
        drawn = self.weights > 0  # one left out may have no finite objective, and 0·∞ is not 0
        w, each = self.weights[drawn], found.gradient[:, drawn]
        with np.errstate(all="ignore"):  # a trial may go where some likelihood overflows; `sound` sees it
            ofv, gradient = float(w @ found.objective[drawn] + found.penalty), each @ w + found.slope
            return Point(psi, ofv, gradient, each * np.sqrt(w), found.eta, drawn & ~found.good)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Where a search ended and why: `cause` is `converged`, or what kept it from converging."""

    psi: np.ndarray
    ofv: float
    cause: str
    iterations: int = 0
    evaluations: int = 0
    lost: tuple[int, ...] = ()

    @property
    def converged(self) -> bool:
        return self.cause == CONVERGED


def minimise(study: Study, psi: np.ndarray, eta: np.ndarray, inverse: np.ndarray) -> Search[Outcome]:
    """The optimum of a resampled study, sought from ψ and η with that inverse Hessian of the OFV."""
    point = yield from study.measure(psi, eta)
    evaluations, iteration = 1, 0
    if not point.sound:
        return Outcome(psi, point.ofv, "the objective is not finite at the start", 0, 1)
    while True:
        direction = -inverse @ point.gradient
        slope = float(point.gradient @ direction)
        promised = -slope / 2
        if promised >= _ENOUGH and iteration >= _MOST:
            return _ended(point, LIMIT, iteration, evaluations)
        new, tried = None, 0
        if promised >= _ENOUGH:
            new, tried = yield from _line_search(study, point, direction, slope)
        evaluations += tried
        if new is not None:
            inverse = rules._update(inverse, new.psi - point.psi, new.gradient - point.gradient)
            point, iteration = new, iteration + 1
            continue
        if promised >= 1e-4:  # more than the objective cannot resolve: the curvature is to blame, if it is not fresh
            fresh = rules._scores(point.each)
            if np.allclose(fresh, inverse):
                return _ended(point, STALLED, iteration, evaluations)
            inverse, iteration = fresh, iteration + 1
            continue
        better, tried = yield from _restored(study, point)
        evaluations += tried
        if better is None or iteration >= _MOST:
            return _ended(point, CONVERGED, iteration, evaluations)
        point, inverse, iteration = better, rules._scores(better.each), iteration + 1


def _line_search(study: Study, point: Point, direction: np.ndarray, slope: float) -> Search[tuple[Point | None, int]]:
    length = min(1.0, _FARTHEST / float(np.abs(direction).max()))
    for tried in range(1, 31):
        trial = yield from study.measure(point.psi + length * direction, point.eta)
        falls = trial.ofv < point.ofv and trial.ofv <= point.ofv + 1e-4 * length * slope
        if falls and trial.sound and not (trial.lost & ~point.lost).any():
            return trial, tried
        length *= rules._shorter(point.ofv, trial.ofv, slope, length)
    return None, 30


def _restored(study: Study, point: Point) -> Search[tuple[Point | None, int]]:
    """A better point with a vanished random effect at a tenth of where it started, if there is one."""
    best, tried = point, 0
    for k in study.spreads:
        if point.psi[k] > study.psi0[k] - _VANISHED:
            continue
        psi = best.psi.copy()
        psi[k] = study.psi0[k] - _RESTORED
        trial, tried = (yield from study.measure(psi, best.eta)), tried + 1
        if trial.ofv < best.ofv - 1e-3 and trial.sound and not (trial.lost & ~best.lost).any():
            best = trial
    return (None if best is point else best), tried


def _ended(point: Point, cause: str, iteration: int, evaluations: int) -> Outcome:
    lost = tuple(int(i) for i in np.flatnonzero(point.lost))
    if lost and cause == CONVERGED:
        cause = "no individual optimum found"
    return Outcome(point.psi, point.ofv, cause, iteration, evaluations, lost)
