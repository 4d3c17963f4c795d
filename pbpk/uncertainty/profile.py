"""Likelihood profiles: how far a parameter can go, all others re-estimated, before the OFV has risen by the χ² quantile.

Each side of each parameter is a search of its own: steps outwards until the rise is bracketed, then Newton's on the square
root of the rise, whose slope the constrained optimum gives (constrained_search.py). Venzon & Moolgavkar 1988 (Appl Stat 37:87) for
the profile, Royston 2007 (Stata J 7:376) for its root as nearly a straight line. No model is refitted but by its own method.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, WrongUsage, did_you_mean
from pbpk.estimation.parallel_objective import Search
from pbpk.estimation.weighted_descent import WeightedStudy
from pbpk.uncertainty.constrained_search import ConstrainedOptimum, minimise_on_surface
from pbpk.uncertainty.coordinates import ProfileCoordinate, choose_coordinate, compute_standard_error
from pbpk.uncertainty.fit_objective import FitObjective

if TYPE_CHECKING:
    from pbpk.uncertainty.finished_fit import FinishedFit

FOUND, OPEN, FAILED, LOWER = "found", "open", "failed", "lower OFV"
_OFV_TOLERANCE = 1e-4  # of the OFV: a bound is then right to a hundredth of a percent of its distance from the estimate
_LOWER_OFV = 1e-3  # an OFV lower than the fit's by more says that the fit is not at its minimum
_MOST_OPTIMA = 40


@dataclass(frozen=True, eq=False)
class ProfileSide:
    """One end of an interval. `bound`: natural, coherent, where it was found; `points`: coordinate and optimum of each step."""

    status: str
    bound: float
    rise: float
    points: tuple[tuple[float, ConstrainedOptimum], ...]


@dataclass(frozen=True, eq=False)
class ProfileResult:
    """`table`: a row for each parameter, with Wald's interval beside (NaN without a covariance); an end that is not found is
    NaN and its `status_low` or `status_high` says why. `points`: every constrained optimum, in shown units."""

    study: str
    level: float
    rise: float
    ofv: float
    table: pd.DataFrame
    points: pd.DataFrame
    seconds: dict[str, float]

    @property
    def is_reliable(self) -> bool:
        return not {LOWER, FAILED} & {*self.table["status_low"], *self.table["status_high"]}

    @property
    def verdict(self) -> str:
        words = []
        for status, text in (
            (LOWER, "a lower OFV than the fit's lies along the profile of {}: the fit is not at its minimum"),
            (FAILED, "the search failed on a side of {}"),
            (OPEN, "a side of {} is open: the data do not limit it"),
        ):
            rows = self.table[(self.table["status_low"] == status) | (self.table["status_high"] == status)]
            if len(rows):
                words.append(text.format(", ".join(rows["name"])))
        return "; ".join(words) + "." if words else "Every interval has both ends."

    def to_dict(self) -> dict[str, Any]:
        rows = self.table.set_index("name")
        return {
            "study": self.study,
            "level": self.level,
            "rise": self.rise,
            "ofv": self.ofv,
            "parameter_units": rows["unit"].to_dict(),
            "parameter_estimates": rows["estimate"].to_dict(),
            **{str(c): rows[c].to_dict() for c in rows if c not in ("label", "unit", "estimate")},
            "evaluations": len(self.points),
            "sound": self.is_reliable,
            "verdict": self.verdict,
            "seconds": self.seconds,
        }


def profile_likelihood(
    fit: FinishedFit,
    parameters: Sequence[str] = (),
    level: float = 0.95,
    on_side: Callable[[str, str, ProfileSide], None] = lambda name, side, found: None,
    objective: FitObjective | None = None,
) -> ProfileResult:
    """Of the parameters named, or all. `watch(name, "low" | "high", side)` is called as sides are done."""
    from scipy.special import chdtri

    names = select_parameters(fit, parameters)
    if not 0 < level < 1:
        raise WrongUsage(f"a level of {level:g} is no probability", hint="0.95 is usual")
    rise = float(chdtri(1, 1 - level))
    study = WeightedStudy(
        np.ones(fit.problem.subjects), fit.problem.observed, np.asarray(fit.problem.initial_unconstrained), ()
    )
    places = {name: choose_coordinate(fit, name) for name in names}
    asked = [(name, end) for name in names for end in ("low", "high")]
    objective = objective or FitObjective.compile(fit)
    begun = time.perf_counter()
    searches = (
        (k, _search_side(fit, study, places[name], rise, 1.0 if end == "high" else -1.0))
        for k, (name, end) in enumerate(asked)
    )
    sides: dict[tuple[str, str], ProfileSide] = {}
    for k, side in objective.run_searches(searches):
        sides[asked[k]] = side
        on_side(*asked[k], side)
    seconds = {"first evaluation": objective.compile_seconds, "profiles": time.perf_counter() - begun}
    rows = [_tabulate_interval(fit, places[n], n, sides[n, "low"], sides[n, "high"], rise) for n in names]
    return ProfileResult(
        fit.study.name, level, rise, fit.ofv, pd.DataFrame(rows), _tabulate_points(fit, places, sides, names), seconds
    )


def select_parameters(fit: FinishedFit, parameters: Sequence[str]) -> list[str]:
    """Those asked for, each once; all where none is. Raises `BadInput` for one that is not estimated."""
    for name in parameters:
        if name in fit.names:
            continue
        held = name in fit.layout.names
        raise BadInput(
            f"`{name}` is held fixed in this fit" if held else f"`{name}` is no estimated parameter of this fit",
            where=fit.study.name,
            hint="" if held else did_you_mean(name, fit.names),
        )
    return list(dict.fromkeys(parameters)) or list(fit.names)


def _search_side(fit: FinishedFit, study: WeightedStudy, place: ProfileCoordinate, rise: float, sign: float) -> Search[ProfileSide]:
    """Distances d ≥ 0 from the estimate; r(d) = √ΔOFV is sought at √rise, between `low` (below it) and `high`."""
    origin, wanted = place.evaluate(fit.psi)[0], math.sqrt(rise)
    low, high = (0.0, 0.0), None
    d = min(wanted * compute_standard_error(fit, place.evaluate), place.search_limit / 3)
    psi, eta, inverse = fit.psi, fit.eta, fit.inverse_hessian
    points: list[tuple[float, ConstrainedOptimum]] = []
    failures = 0
    for _ in range(_MOST_OPTIMA):
        c = origin + sign * d
        held = yield from _find_constrained_optimum(study, place, c, psi, eta, inverse)
        if held is None or not held.converged:
            failures += 1
            if failures > 6:
                return ProfileSide(FAILED, math.nan, low[1] ** 2, tuple(points))
            d = (low[0] + d) / 2
            continue
        points.append((c, held))
        gained = held.point.ofv - fit.ofv
        if gained < -_LOWER_OFV:
            return ProfileSide(LOWER, math.nan, gained, tuple(points))
        if abs(gained - rise) < _OFV_TOLERANCE:
            return ProfileSide(FOUND, place.to_natural(c), gained, tuple(points))
        r = math.sqrt(max(gained, 0.0))
        if gained > rise:
            high = (d, r)
        else:
            low = (d, r)
            if d >= place.search_limit:
                return ProfileSide(OPEN, math.nan, gained, tuple(points))
        if high is None or gained < rise:
            psi, eta, inverse = held.point.psi, held.point.eta, held.inverse
        steep = sign * held.slope / (2 * r) if r > 0 else 0.0
        d = _choose_distance(d, r, steep, wanted, low, high, place.search_limit)
        if high is not None and high[0] - low[0] < 1e-10 * max(high[0], 1e-10):
            break
    return ProfileSide(FAILED, math.nan, low[1] ** 2, tuple(points))


def _find_constrained_optimum(study: WeightedStudy, place: ProfileCoordinate, c: float, psi, eta, inverse) -> Search[ConstrainedOptimum | None]:
    try:
        return (yield from minimise_on_surface(study, place.evaluate, c, psi, eta, inverse))
    except np.linalg.LinAlgError:
        return None


def _choose_distance(
    d: float,
    r: float,
    steep: float,
    wanted: float,
    low: tuple[float, float],
    high: tuple[float, float] | None,
    far: float,
) -> float:
    """Newton's on r(d) = wanted; at most doubled while nothing is bracketed, and kept off the ends of a bracket."""
    step = d + (wanted - r) / steep if steep > 0 else math.inf
    if high is None:
        return min(max(step, 1.05 * d), 2 * d, far)
    room = 0.02 * (high[0] - low[0])
    if not low[0] + room < step < high[0] - room:
        step = low[0] + (wanted - low[1]) / (high[1] - low[1]) * (high[0] - low[0])
    return min(max(step, low[0] + room), high[0] - room)


def _tabulate_interval(fit: FinishedFit, place: ProfileCoordinate, name: str, low: ProfileSide, high: ProfileSide, rise: float) -> dict[str, Any]:
    k = place.index
    scale, error = fit.scale[k], compute_standard_error(fit, place.evaluate) * math.sqrt(rise)
    known, centre = fit.psi_covariance is not None, place.evaluate(fit.psi)[0]
    wald = [place.to_natural(centre + s * error) / scale if known else math.nan for s in (-1, 1)]
    return {
        "name": name,
        "label": fit.labels[k],
        "unit": fit.units[k],
        "estimate": float(fit.estimates[k]),
        "ci_low": low.bound / scale,
        "ci_high": high.bound / scale,
        "status_low": low.status,
        "status_high": high.status,
        "rise_low": low.rise,
        "rise_high": high.rise,
        "wald_low": wald[0],
        "wald_high": wald[1],
    }


def _tabulate_points(
    fit: FinishedFit, places: dict[str, ProfileCoordinate], sides: dict[tuple[str, str], ProfileSide], names: Sequence[str]
) -> pd.DataFrame:
    rows = []
    for name in names:
        k = places[name].index
        start = (name, float(fit.estimates[k]), fit.ofv, 0.0, *fit.estimates)
        steps = [
            (name, places[name].to_natural(c) / fit.scale[k], h.point.ofv, h.point.ofv - fit.ofv, *fit.to_shown_units(h.point.psi))
            for end in ("low", "high")
            for c, h in sides[name, end].points
        ]
        rows += sorted([start, *steps], key=lambda row: row[1])
    return pd.DataFrame(rows, columns=pd.Index(["parameter", "value", "ofv", "delta_ofv", *fit.names]))
