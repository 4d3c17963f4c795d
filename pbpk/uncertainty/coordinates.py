"""A natural parameter as a coordinate in which its likelihood is nearest to a parabola: logarithms for what is positive,
θ's own free coordinate where it has bounds, itself otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pbpk.likelihood.parameter_layout import Theta
from pbpk.uncertainty.replicates import spread_names

if TYPE_CHECKING:
    from pbpk.uncertainty.finished_fit import Finished

_FAR = math.log(1e4)  # of a logarithm or a logit
_ERRORS = 30.0  # of a parameter that may have any sign, in its standard errors
_POSITIVE = Theta("", positive=True)


@dataclass(frozen=True, eq=False)
class Coordinate:
    """Parameter `index` of the free ones. `value(c)` is the natural one, coherent, of the coordinate's value; `at(psi)` the
    coordinate with its gradient; `far` how far from the estimate a search goes before it calls a side open; `ends` (natural,
    coherent) are where it can go at all."""

    index: int
    value: Callable[[float], float]
    at: Callable[[np.ndarray], tuple[float, np.ndarray]]
    far: float
    ends: tuple[float, float]


def coordinate(fit: Finished, name: str) -> Coordinate:
    k = fit.names.index(name)
    theta = next((t for t in fit.layout.thetas if t.name == name), None)
    if theta is None and (name in spread_names(fit) or name in fit.layout.sigmas):
        theta = _POSITIVE
    low, high = theta.ends if theta else (-math.inf, math.inf)

    def at(psi: np.ndarray) -> tuple[float, np.ndarray]:
        values, jacobian = fit.natural(psi)
        x, slope = float(values[k]), jacobian[k]
        if theta is None or (low == -math.inf and high == math.inf):
            return x, slope
        with np.errstate(all="ignore"):
            return float(theta.free(x)), slope * (_inverse(x - low) + _inverse(high - x))

    def value(c: float) -> float:
        return float(theta.bound(c)) if theta else c

    bounded = low > -math.inf or high < math.inf
    far = _FAR if bounded else _ERRORS * standard_error(fit, at)
    return Coordinate(k, value, at, far, (low, high))


def standard_error(fit: Finished, at: Callable[[np.ndarray], tuple[float, np.ndarray]]) -> float:
    """Of a function of ψ, by the delta method; from the search's own curvature where the fit has no covariance."""
    covariance = fit.psi_covariance
    slope = at(fit.psi)[1]
    return float(np.sqrt(slope @ (2 * fit.inverse if covariance is None else covariance) @ slope))


def _inverse(distance: float) -> float:
    return 1 / distance if math.isfinite(distance) else 0.0
