"""Minimising the OFV where one natural parameter is held: a quasi-Newton search along the surface c(ψ) = value.

c is a function of ψ, not always one of its coordinates: a variance of a block of Ω is a sum of squares of its Cholesky factor.
So each step is that of the Lagrangian, with multiplier λ = c'H⁻¹g / c'H⁻¹c', brought back to the surface along H⁻¹c'; on it the
OFV alone decides. λ is the slope of the profile, ∂OFV/∂c at the optimum (Nocedal & Wright 2006, chapters 12 and 18).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.estimation import descent_rules as rules
from pbpk.estimation.state import CONVERGED, ITERATION_LIMIT, STALLED

if TYPE_CHECKING:
    from pbpk.estimation.parallel_objective import Search
    from pbpk.estimation.weighted_descent import SearchPoint, WeightedStudy

Surface = Callable[[np.ndarray], tuple[float, np.ndarray]]  # ψ -> c and its gradient (P,)
_ENOUGH, _FARTHEST, _MOST = rules.SMALLEST_FALL, rules.LONGEST_STEP, rules.MOST_ITERATIONS


@dataclass(frozen=True, eq=False)
class ConstrainedOptimum:
    """The optimum on a surface, with the inverse Hessian built up on the way and the multiplier, `slope` ∂OFV/∂c; `cause` as in
    weighted_descent.py."""

    point: SearchPoint
    inverse: np.ndarray
    slope: float
    cause: str

    @property
    def converged(self) -> bool:
        """Whether the search ended at an optimum."""
        return self.cause == CONVERGED


def project_onto_surface(surface: Surface, value: float, psi: np.ndarray, inverse: np.ndarray) -> np.ndarray | None:
    """The point with c = `value`, reached from ψ along H⁻¹c' by Newton's method; None where the method does not converge."""
    for _ in range(60):
        c, a = surface(psi)
        gap = value - c
        if not np.isfinite(gap) or not np.isfinite(a).all():
            return None
        if abs(gap) <= 1e-12 * max(1.0, abs(value)):
            return psi
        along = inverse @ a
        step = gap / float(a @ along) * along if a @ along > 0 else gap / float(a @ a) * a
        psi = psi + step * min(1.0, _FARTHEST / max(float(np.abs(step).max()), 1e-300))
    return None


def minimise_on_surface(
    study: WeightedStudy, surface: Surface, value: float, psi: np.ndarray, eta: np.ndarray, inverse: np.ndarray
) -> Search[ConstrainedOptimum | None]:
    """The least OFV with c = value, sought from a point near it; None where that has no finite OFV."""
    start = project_onto_surface(surface, value, psi, inverse)
    if start is None:
        return None
    point = yield from study.evaluate_at(start, eta)
    if not point.is_finite:
        return None
    is_restarted = False
    for _ in range(_MOST):
        a = surface(point.psi)[1]
        multiplier, direction = _step_along_tangent(point.gradient, a, inverse)
        slope = float(point.gradient @ direction)
        if -slope / 2 < _ENOUGH:
            return ConstrainedOptimum(point, inverse, multiplier, _name_cause(point))
        new = yield from _search_along_surface(study, surface, value, point, direction, slope, inverse)
        if new is None:
            if -slope / 2 < 1e-4:  # below what the objective can resolve
                return ConstrainedOptimum(point, inverse, multiplier, _name_cause(point))
            if is_restarted:
                return ConstrainedOptimum(point, inverse, multiplier, STALLED)
            inverse, is_restarted = rules.invert_scores(point.weighted_gradients), True
            continue
        b = surface(new.psi)[1]
        after = _step_along_tangent(new.gradient, b, inverse)[0]
        change = (new.gradient - after * b) - (point.gradient - after * a)
        inverse = rules.update_inverse(inverse, new.psi - point.psi, change)
        point = new
    return ConstrainedOptimum(
        point, inverse, _step_along_tangent(point.gradient, surface(point.psi)[1], inverse)[0], ITERATION_LIMIT
    )


def _step_along_tangent(gradient: np.ndarray, a: np.ndarray, inverse: np.ndarray) -> tuple[float, np.ndarray]:
    """λ, and the quasi-Newton step that leaves c as it is to first order."""
    along = inverse @ a
    multiplier = float(along @ gradient / (along @ a))
    return multiplier, -inverse @ (gradient - multiplier * a)


def _search_along_surface(
    study: WeightedStudy,
    surface: Surface,
    value: float,
    point: SearchPoint,
    direction: np.ndarray,
    slope: float,
    inverse: np.ndarray,
) -> Search[SearchPoint | None]:
    """A point on the surface, along `direction`, with a sufficiently lower OFV; None where there is none."""
    length = min(1.0, _FARTHEST / max(float(np.abs(direction).max()), 1e-300))
    for _ in range(30):
        psi = project_onto_surface(surface, value, point.psi + length * direction, inverse)
        if psi is None:
            length *= 0.25
            continue
        trial = yield from study.evaluate_at(psi, point.eta)
        falls = trial.ofv < point.ofv and trial.ofv <= point.ofv + 1e-4 * length * slope
        if falls and trial.is_finite and not (trial.failed & ~point.failed).any():
            return trial
        length *= rules.shorten_step(point.ofv, trial.ofv, slope, length)
    return None


def _name_cause(point: SearchPoint) -> str:
    """Why a search that came to an optimum ended: one without some subject's mode is no optimum of the likelihood."""
    return "no individual optimum found" if point.failed.any() else CONVERGED
