"""A natural parameter as a coordinate in which its likelihood is nearest to a parabola: logarithms for what is positive,
θ's own free coordinate where it has bounds, itself otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.likelihood.parameter_layout import Theta
from pbpk.uncertainty.replicates import list_variance_names

if TYPE_CHECKING:
    from pbpk.uncertainty.finished_fit import FinishedFit

_LONGEST_LOG = math.log(1e4)  # of a logarithm or a logit
_MOST_ERRORS = 30.0  # of a parameter that may have any sign, in its standard errors
_POSITIVE = Theta("", positive=True)


@dataclass(frozen=True, eq=False)
class ProfileCoordinate:
    """A coordinate of the free parameter at `index`. `to_natural(c)`: the natural parameter at coordinate c, coherent;
    `evaluate(psi)`: the coordinate with its gradient (P,). `search_limit`: how far from the estimate a search goes before it
    calls a side open; `bounds` (natural, coherent): where the parameter can go at all."""

    index: int
    to_natural: Callable[[float], float]
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]]
    search_limit: float
    bounds: tuple[float, float]


def choose_coordinate(fit: FinishedFit, name: str) -> ProfileCoordinate:
    """The coordinate in which a free parameter is profiled."""
    k = fit.names.index(name)
    theta = next((t for t in fit.layout.thetas if t.name == name), None)
    if theta is None and (name in list_variance_names(fit) or name in fit.layout.sigmas):
        theta = _POSITIVE
    low, high = theta.interval if theta else (-math.inf, math.inf)

    def at(psi: np.ndarray) -> tuple[float, np.ndarray]:
        values, jacobian = fit.map_to_natural(psi)
        x, slope = float(values[k]), jacobian[k]
        if theta is None or (low == -math.inf and high == math.inf):
            return x, slope
        with np.errstate(all="ignore"):
            return float(theta.to_unconstrained(x)), slope * (_invert_distance(x - low) + _invert_distance(high - x))

    def value(c: float) -> float:
        return float(theta.from_unconstrained(c)) if theta else c

    bounded = low > -math.inf or high < math.inf
    far = _LONGEST_LOG if bounded else _MOST_ERRORS * compute_standard_error(fit, at)
    return ProfileCoordinate(k, value, at, far, (low, high))


def compute_standard_error(fit: FinishedFit, at: Callable[[np.ndarray], tuple[float, np.ndarray]]) -> float:
    """The standard error of a function of ψ that gives its value and gradient: by the delta method, from the search's own
    curvature where the fit has no covariance."""
    covariance = fit.psi_covariance
    slope = at(fit.psi)[1]
    return float(np.sqrt(slope @ (2 * fit.inverse_hessian if covariance is None else covariance) @ slope))


def _invert_distance(distance: float) -> float:
    """1/distance to a bound, 0 for one that is not there."""
    return 1 / distance if math.isfinite(distance) else 0.0
