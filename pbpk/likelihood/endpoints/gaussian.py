"""A continuous endpoint: normal residuals on the observable's own scale or a transformed one, quantified or censored.

A value below or above a limit counts with the probability of lying there (Beal 2001, J Pharmacokinet Pharmacodyn 28:481: M3,
and with a floor M2 and M4), an interval with the probability between its ends. Objectives of transformed observations hold the
Jacobian, so that they compare with untransformed ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, ParameterValues, Predicted
from pbpk.likelihood.endpoints.interval import log_probability_between
from pbpk.likelihood.endpoints.transforms import TRANSFORMS
from pbpk.observe.variances import VARIANCES


@dataclass(frozen=True)
class GaussianEndpoint(Endpoint):
    """A value with a normal residual.

    `model` is one of `VARIANCES`, a variance on the transformed scale as a function of the untransformed f; `transform` is one
    of `TRANSFORMS` and `transform_constants` its numbers that are not estimated; `already_transformed`: y is on that scale in
    the data; `has_limits`: some y are censored; `unit_factor`: how many coherent units one unit of the data is.

    Predictions and y come in coherent units. The likelihood is that of y in the unit of the data, as an estimation program
    that never changes a unit has it, and transforms act on numbers in that unit. `correlated_with`: another endpoint whose
    residuals of the same time are correlated with these (NONMEM's L2).
    """

    model: str
    transform: str = "none"
    transform_constants: tuple[float, ...] = ()
    already_transformed: bool = False
    has_limits: bool = False
    unit_factor: float = 1.0
    correlated_with: str | None = None

    @property
    def is_continuous(self) -> bool:
        """True: residuals make sense."""
        return True

    @property
    def correlation_name(self) -> str | None:
        """The fit's name of `ar1`, where the endpoint has it."""
        return dict(self.parameter_names).get("ar1")

    @property
    def partner(self) -> tuple[str, str] | None:
        """The endpoint of `correlated_with`, and the fit's name of `correlation`."""
        return (self.correlated_with, dict(self.parameter_names)["correlation"]) if self.correlated_with else None

    @property
    def data_columns(self) -> tuple[str, ...] | None:
        """y, and its limits where there may be any; None where residuals are correlated."""
        return None if self.is_correlated else ("y", "low", "high", "floor") if self.has_limits else ("y",)

    def find_impossible(self, y: np.ndarray) -> tuple[np.ndarray, str]:
        """Values that the transform's scale does not reach."""
        if not self.already_transformed:
            if TRANSFORMS[self.transform].positive:
                return y <= 0, f"the {self.transform} scale has none for it"
            if self.transform == "logit":
                low, high = self.transform_constants
                return (y / self.unit_factor <= low) | (y / self.unit_factor >= high), "the logit scale has none for it"
        return super().find_impossible(y)

    def to_scale(self, x: Numbers, values: ParameterValues) -> Numbers:
        """x on the scale of the residual; without a transform that is x itself."""
        if self.transform == "none":
            return x
        return TRANSFORMS[self.transform].apply(x / self.unit_factor, *self._transform_arguments(values))

    def from_scale(self, z: Numbers, values: ParameterValues) -> Numbers:
        """The inverse of `to_scale`."""
        if self.transform == "none":
            return z
        return self.unit_factor * TRANSFORMS[self.transform].invert(z, *self._transform_arguments(values))

    def _transform_arguments(self, values: ParameterValues) -> tuple[Any, ...]:
        names, parameters = TRANSFORMS[self.transform].parameters, self.select_parameters(values)
        return tuple(parameters[n] for n in names if n in parameters) + self.transform_constants

    def observed_on_scale(self, y: Numbers, values: ParameterValues) -> Numbers:
        """y, as the data have it, on the scale of the residual."""
        return y if self.already_transformed else self.to_scale(y, values)

    def variance(self, f: Numbers, values: ParameterValues) -> Numbers:
        """The residual variance at the untransformed prediction f, on the scale of the residual."""
        names, function = VARIANCES[self.model]
        parameters = self.select_parameters(values)
        return function(f, *(parameters[n] for n in names))

    def minus2ll(self, p: Predicted, o: Observed, values: ParameterValues) -> Numbers:
        """ln R + (y − f)²/R with the Jacobian of the transform and of the unit; a censored value by its probability."""
        r, mean = self.variance(p.variance_f, values), self.to_scale(p.f, values)
        quantified = jnp.log(r) + (self.observed_on_scale(o.y, values) - mean) ** 2 / r
        if self.transform == "none":
            quantified = quantified - 2 * math.log(self.unit_factor) if self.unit_factor != 1 else quantified
        elif not self.already_transformed:
            slope = TRANSFORMS[self.transform].log_slope(o.y / self.unit_factor, *self._transform_arguments(values))
            quantified = quantified - 2 * slope
        if not self.has_limits:
            return quantified
        return self._censored_minus2ll(quantified, jnp.sqrt(r), mean, o, values)

    def _censored_minus2ll(
        self, quantified: Numbers, sd: Numbers, mean: Numbers, o: Observed, values: ParameterValues
    ) -> Numbers:
        """`quantified` where it was, else −2 ln P(low < y < high); and where there is a floor, given that y is above it."""

        def standardise(limit):
            finite = jnp.isfinite(limit)
            if self.transform in ("log", "boxcox"):  # below 0 there is nothing: no limit at all
                finite = finite & (limit > 0) if not self.already_transformed else finite
            z = (self.observed_on_scale(jnp.where(finite, limit, 1.0), values) - mean) / sd
            return jnp.where(finite, z, jnp.where(limit > 0, jnp.inf, -jnp.inf))

        low = jnp.where(o.is_censored, o.low, -jnp.inf)
        high = jnp.where(o.is_censored, o.high, jnp.inf)
        inside = -2 * log_probability_between(standardise(low), standardise(high))
        above = 2 * log_probability_between(standardise(o.floor), jnp.full_like(mean, jnp.inf))
        return jnp.where(o.is_censored, inside, quantified) + above

    def curvature(self, p: Predicted, o: Observed, values: ParameterValues, interaction: bool) -> Numbers:
        """Expected where quantified: h'²/R and, with interaction, ½(∂ln R/∂f)²; observed where censored or above a floor."""
        ones = jnp.ones_like(p.f)
        slope = jax.jvp(lambda f: self.to_scale(f, values), (p.f,), (ones,))[1]
        expected = slope**2 / self.variance(p.variance_f, values)
        if interaction:
            spread = jax.jvp(lambda f: jnp.log(self.variance(f, values)), (p.variance_f,), (ones,))[1]
            expected = expected + 0.5 * spread**2
        if not self.has_limits:
            return expected
        observed = super().curvature(p, o, values, interaction)
        return jnp.where(o.is_censored | jnp.isfinite(o.floor), observed, expected)

    def moments(self, p: Predicted, values: ParameterValues) -> tuple[Numbers, Numbers]:
        """Mean and variance of y on the scale of the residual."""
        return self.to_scale(p.f, values), self.variance(p.variance_f, values)

    def draw(
        self, keys: Numbers, p: Predicted, o: Observed, values: ParameterValues, partner: Numbers | None = None
    ) -> Numbers:
        """A value for each key. M4 takes y for positive, so its draws are; what M2 leaves out is left out of a replicate as of
        the data."""
        normal = draw_standard_normals(keys)
        if self.partner is not None and partner is not None:
            rho = jnp.where(jnp.isfinite(partner), values[self.partner[1]], 0.0)
            normal = rho * jnp.where(jnp.isfinite(partner), partner, 0.0) + jnp.sqrt(1 - rho**2) * normal
        if self.correlation_name is not None:
            normal = _correlate_draws(normal, o, self.select_parameters(values)["ar1"])
        mean, sd = self.to_scale(p.f, values), jnp.sqrt(self.variance(p.variance_f, values))
        if self.has_limits and self.transform == "none":
            positive = -ndtri(ndtr(-normal) * ndtr(mean / sd))
            normal = jnp.where(o.floor == 0, positive, normal)
        z = mean + sd * normal
        return z if self.already_transformed else self.from_scale(z, values)


def draw_standard_normals(keys: Numbers) -> Numbers:
    """A standard normal for each key (T, N)."""
    return jax.vmap(jax.vmap(jax.random.normal))(keys)


def _correlate_draws(normal: Numbers, o: Observed, rho: Numbers) -> Numbers:
    """Standard normals (T, N), each correlated by ρ^Δt with the one of the previous record of its endpoint."""

    def step(drawn, t):
        previous, now = o.previous_record[t], o.time[t]
        row = jnp.maximum(previous, 0)[None]
        last = jnp.take_along_axis(drawn, row, axis=0)[0]
        before = jnp.take_along_axis(o.time, row, axis=0)[0]
        r = jnp.where(previous >= 0, rho ** jnp.maximum(now - before, 0.0), 0.0)
        return drawn.at[t].set(r * last + jnp.sqrt(1 - r**2) * normal[t]), None

    return jax.lax.scan(step, jnp.zeros_like(normal), jnp.arange(normal.shape[0]))[0]
