"""Likelihood profiles: how far a parameter can go, all others re-estimated, before the OFV has risen by the χ² quantile.

Each side of each parameter is a search of its own: steps outwards until the rise is bracketed, then Newton's method on the
square root of the rise, whose slope the constrained optimum gives (constrained_search.py). Venzon & Moolgavkar 1988 (Appl Stat
37:87) for the profile, Royston 2007 (Stata J 7:376) for its root as nearly a straight line. Each optimum is of the run's own
method.
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
_MOST_OPTIMA, _MOST_FAILURES = 40, 6  # of one side


@dataclass(frozen=True)
class ProfileOptions:
    """`parameters`: names of those to profile, all where there is none; `level` of the intervals, a fraction."""

    parameters: tuple[str, ...] = ()
    level: float = 0.95

    def check(self) -> None:
        """Raises `WrongUsage` for a level that is no probability."""
        if not 0 < self.level < 1:
            raise WrongUsage(f"a level of {self.level:g} is no probability", hint="0.95 is usual")


@dataclass(frozen=True, eq=False)
class ProfileSide:
    """One end of an interval: `status` is `FOUND`, `OPEN`, `FAILED` or `LOWER`; `bound`: the natural parameter there, coherent,
    NaN unless found; `rise` of the OFV there; `points`: coordinate and optimum of each step."""

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
        """Whether every side was searched to its end, and no OFV is lower than the fit's."""
        return not {LOWER, FAILED} & {*self.table["status_low"], *self.table["status_high"]}

    @property
    def verdict(self) -> str:
        """A sentence: which intervals have an open side, or why they may not be used."""
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
        """The result as profile.json has it."""
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
    options: ProfileOptions | None = None,
    on_side: Callable[[str, str, ProfileSide], None] = lambda name, end, side: None,
    objective: FitObjective | None = None,
) -> ProfileResult:
    """Profile-likelihood intervals of the parameters asked for. `objective` is the fit's, if it is compiled already.

    `on_side(name, "low" | "high", side)` is called as sides are done. Raises `WrongUsage` and `BadInput` for the options.
    """
    from scipy.special import chdtri

    options = options or ProfileOptions()
    names = select_parameters(fit, options.parameters)
    options.check()
    rise = float(chdtri(1, 1 - options.level))
    initial_psi = np.asarray(fit.problem.initial_unconstrained)
    study = WeightedStudy(np.ones(fit.problem.subjects), fit.problem.observed, initial_psi, ())
    coordinates = {name: choose_coordinate(fit, name) for name in names}
    ends = [(name, end) for name in names for end in ("low", "high")]
    objective = objective or FitObjective.compile(fit)
    begun = time.perf_counter()
    searches = (
        (k, _search_side(fit, study, coordinates[name], rise, 1.0 if end == "high" else -1.0))
        for k, (name, end) in enumerate(ends)
    )
    sides: dict[tuple[str, str], ProfileSide] = {}
    for k, side in objective.run_searches(searches):
        sides[ends[k]] = side
        on_side(*ends[k], side)
    seconds = {"first evaluation": objective.compile_seconds, "profiles": time.perf_counter() - begun}
    rows = [_tabulate_interval(fit, coordinates[n], n, sides[n, "low"], sides[n, "high"], rise) for n in names]
    return ProfileResult(
        fit.study.name,
        options.level,
        rise,
        fit.ofv,
        pd.DataFrame(rows),
        _tabulate_points(fit, coordinates, sides, names),
        seconds,
    )


def select_parameters(fit: FinishedFit, parameters: Sequence[str]) -> list[str]:
    """The names of the parameters asked for, each once; all where there is none. Raises `BadInput` for one that is not
    estimated."""
    for name in parameters:
        if name in fit.names:
            continue
        is_fixed = name in fit.layout.names
        raise BadInput(
            f"`{name}` is held fixed in this fit" if is_fixed else f"`{name}` is no estimated parameter of this fit",
            where=fit.study.name,
            hint="" if is_fixed else did_you_mean(name, fit.names),
        )
    return list(dict.fromkeys(parameters)) or list(fit.names)


def _search_side(
    fit: FinishedFit, study: WeightedStudy, coordinate: ProfileCoordinate, rise: float, sign: float
) -> Search[ProfileSide]:
    """The search for one end, below (`sign` −1) or above (1) the estimate.

    Distances d ≥ 0 from the estimate; r(d) = √ΔOFV is sought at √rise, between `low` (below it) and `high`.
    """
    origin, goal = coordinate.evaluate(fit.psi)[0], math.sqrt(rise)
    low, high = (0.0, 0.0), None
    d = min(goal * compute_standard_error(fit, coordinate.evaluate), coordinate.search_limit / 3)
    psi, eta, inverse = fit.psi, fit.eta, fit.inverse_hessian
    points: list[tuple[float, ConstrainedOptimum]] = []
    failures = 0
    for _ in range(_MOST_OPTIMA):
        c = origin + sign * d
        optimum = yield from _find_constrained_optimum(study, coordinate, c, psi, eta, inverse)
        if optimum is None or not optimum.converged:
            failures += 1
            if failures > _MOST_FAILURES:
                return ProfileSide(FAILED, math.nan, low[1] ** 2, tuple(points))
            d = (low[0] + d) / 2
            continue
        points.append((c, optimum))
        gained = optimum.point.ofv - fit.ofv
        if gained < -_LOWER_OFV:
            return ProfileSide(LOWER, math.nan, gained, tuple(points))
        if abs(gained - rise) < _OFV_TOLERANCE:
            return ProfileSide(FOUND, coordinate.to_natural(c), gained, tuple(points))
        r = math.sqrt(max(gained, 0.0))
        if gained > rise:
            high = (d, r)
        else:
            low = (d, r)
            if d >= coordinate.search_limit:
                return ProfileSide(OPEN, math.nan, gained, tuple(points))
        if high is None or gained < rise:  # the next optimum is looked for from this one
            psi, eta, inverse = optimum.point.psi, optimum.point.eta, optimum.inverse
        slope = sign * optimum.slope / (2 * r) if r > 0 else 0.0
        d = _choose_distance(d, r, slope, goal, low, high, coordinate.search_limit)
        if high is not None and high[0] - low[0] < 1e-10 * max(high[0], 1e-10):
            break
    return ProfileSide(FAILED, math.nan, low[1] ** 2, tuple(points))


def _find_constrained_optimum(
    study: WeightedStudy, coordinate: ProfileCoordinate, c: float, psi, eta, inverse
) -> Search[ConstrainedOptimum | None]:
    """The optimum with the coordinate at `c`; None where there is none, or no inverse of a matrix on the way."""
    try:
        return (yield from minimise_on_surface(study, coordinate.evaluate, c, psi, eta, inverse))
    except np.linalg.LinAlgError:
        return None


def _choose_distance(
    d: float,
    r: float,
    slope: float,
    goal: float,
    low: tuple[float, float],
    high: tuple[float, float] | None,
    far: float,
) -> float:
    """The next distance, by Newton's step on r(d) = goal from `d`, where r has that `slope`.

    While nothing is bracketed it is at most doubled; it is kept off the ends of a bracket (`low` and `high`: distance and r).
    """
    step = d + (goal - r) / slope if slope > 0 else math.inf
    if high is None:
        return min(max(step, 1.05 * d), 2 * d, far)
    room = 0.02 * (high[0] - low[0])
    if not low[0] + room < step < high[0] - room:
        step = low[0] + (goal - low[1]) / (high[1] - low[1]) * (high[0] - low[0])
    return min(max(step, low[0] + room), high[0] - room)


def _tabulate_interval(
    fit: FinishedFit, coordinate: ProfileCoordinate, name: str, low: ProfileSide, high: ProfileSide, rise: float
) -> dict[str, Any]:
    """The row of one parameter, in shown units, with Wald's interval on the same coordinate."""
    k = coordinate.index
    scale, error = fit.scale[k], compute_standard_error(fit, coordinate.evaluate) * math.sqrt(rise)
    has_covariance, centre = fit.psi_covariance is not None, coordinate.evaluate(fit.psi)[0]
    wald = [coordinate.to_natural(centre + s * error) / scale if has_covariance else math.nan for s in (-1, 1)]
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
    fit: FinishedFit,
    coordinates: dict[str, ProfileCoordinate],
    sides: dict[tuple[str, str], ProfileSide],
    names: Sequence[str],
) -> pd.DataFrame:
    """A row for every constrained optimum and for the estimate, in shown units, by parameter and value."""
    rows = []
    for name in names:
        k = coordinates[name].index
        start = (name, float(fit.estimates[k]), fit.ofv, 0.0, *fit.estimates)
        steps = [
            (
                name,
                coordinates[name].to_natural(c) / fit.scale[k],
                optimum.point.ofv,
                optimum.point.ofv - fit.ofv,
                *fit.to_shown_units(optimum.point.psi),
            )
            for end in ("low", "high")
            for c, optimum in sides[name, end].points
        ]
        rows += sorted([start, *steps], key=lambda row: row[1])
    return pd.DataFrame(rows, columns=pd.Index(["parameter", "value", "ofv", "delta_ofv", *fit.names]))
