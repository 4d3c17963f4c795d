"""A continuous endpoint: normal residuals on the observable's own scale or a transformed one, quantified or censored.

A value below or above a limit counts with the probability of lying there (Beal 2001, J Pharmacokinet Pharmacodyn 28:481: M3,
and with a floor M2 and M4), an interval with the probability between its ends. Objectives of transformed observations hold the
Jacobian, so that they compare with untransformed ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, ParameterValues, Predicted
from pbpk.likelihood.endpoints.interval import log_probability_between
from pbpk.likelihood.endpoints.transforms import TRANSFORMS
from pbpk.observe.noise import VARIANCES


@dataclass(frozen=True)
class GaussianEndpoint(Endpoint):
    """`model` is one of `VARIANCES`, a variance on the transformed scale as a function of the untransformed f; `constants` are
    the transform's numbers that are not estimated; `given`: y has been transformed already; `limits`: some y are censored."""

    model: str
    transform: str = "none"
    transform_constants: tuple[float, ...] = ()
    already_transformed: bool = False
    has_limits: bool = False

    @property
    def is_continuous(self) -> bool:
        return True

    @property
    def correlation_name(self) -> str | None:
        return dict(self.parameter_names).get("ar1")

    @property
    def data_columns(self) -> tuple[str, ...] | None:
        return None if self.correlation_name else ("y", "low", "high", "floor") if self.has_limits else ("y",)

    def to_scale(self, x: Numbers, sigma: ParameterValues) -> Numbers:
        return TRANSFORMS[self.transform].apply(x, *self._transform_arguments(sigma))

    def from_scale(self, z: Numbers, sigma: ParameterValues) -> Numbers:
        return TRANSFORMS[self.transform].invert(z, *self._transform_arguments(sigma))

    def _transform_arguments(self, sigma: ParameterValues) -> tuple[Any, ...]:
        takes, own = TRANSFORMS[self.transform].parameters, self.select_parameters(sigma)
        return tuple(own[n] for n in takes if n in own) + self.transform_constants

    def observed_on_scale(self, y: Numbers, sigma: ParameterValues) -> Numbers:
        """y on the scale of the residual."""
        return y if self.already_transformed else self.to_scale(y, sigma)

    def variance(self, around: Numbers, sigma: ParameterValues) -> Numbers:
        names, function = VARIANCES[self.model]
        own = self.select_parameters(sigma)
        return function(around, *(own[n] for n in names))

    def minus2ll(self, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        r, mean = self.variance(p.variance_f, sigma), self.to_scale(p.f, sigma)
        plain = jnp.log(r) + (self.observed_on_scale(o.y, sigma) - mean) ** 2 / r
        if self.transform != "none" and not self.already_transformed:
            plain = plain - 2 * TRANSFORMS[self.transform].log_slope(o.y, *self._transform_arguments(sigma))
        if not self.has_limits:
            return plain
        return self._censored_minus2ll(plain, jnp.sqrt(r), mean, o, sigma)

    def _censored_minus2ll(
        self, plain: Numbers, sd: Numbers, mean: Numbers, o: Observed, sigma: ParameterValues
    ) -> Numbers:
        def standard(limit):
            finite = jnp.isfinite(limit)
            if self.transform in ("log", "boxcox"):  # below 0 there is nothing: no limit at all
                finite = finite & (limit > 0) if not self.already_transformed else finite
            z = (self.observed_on_scale(jnp.where(finite, limit, 1.0), sigma) - mean) / sd
            return jnp.where(finite, z, jnp.where(limit > 0, jnp.inf, -jnp.inf))

        low = jnp.where(o.is_censored, o.low, -jnp.inf)
        high = jnp.where(o.is_censored, o.high, jnp.inf)
        inside = -2 * log_probability_between(standard(low), standard(high))
        above = 2 * log_probability_between(standard(o.floor), jnp.full_like(mean, jnp.inf))
        return jnp.where(o.is_censored, inside, plain) + above

    def curvature(self, p: Predicted, o: Observed, sigma: ParameterValues, interaction: bool) -> Numbers:
        """Expected where quantified: h'²/R and, with interaction, ½(∂ln R/∂f)²; observed where censored or above a floor."""
        ones = jnp.ones_like(p.f)
        slope = jax.jvp(lambda f: self.to_scale(f, sigma), (p.f,), (ones,))[1]
        expected = slope**2 / self.variance(p.variance_f, sigma)
        if interaction:
            spread = jax.jvp(lambda f: jnp.log(self.variance(f, sigma)), (p.variance_f,), (ones,))[1]
            expected = expected + 0.5 * spread**2
        if not self.has_limits:
            return expected
        observed = super().curvature(p, o, sigma, interaction)
        return jnp.where(o.is_censored | jnp.isfinite(o.floor), observed, expected)

    def moments(self, p: Predicted, sigma: ParameterValues) -> tuple[Numbers, Numbers]:
        """On the scale of the residual."""
        return self.to_scale(p.f, sigma), self.variance(p.variance_f, sigma)

    def draw(self, keys: Numbers, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        """M4 takes y for positive, so its draws are; what M2 leaves out is left out of a replicate as of the data."""
        normal = jax.vmap(jax.vmap(jax.random.normal))(keys)
        if self.correlation_name is not None:
            normal = _correlate_draws(normal, o, self.select_parameters(sigma)["ar1"])
        mean, sd = self.to_scale(p.f, sigma), jnp.sqrt(self.variance(p.variance_f, sigma))
        if self.has_limits and self.transform == "none":
            positive = -ndtri(ndtr(-normal) * ndtr(mean / sd))
            normal = jnp.where(o.floor == 0, positive, normal)
        z = mean + sd * normal
        return z if self.already_transformed else self.from_scale(z, sigma)


def _correlate_draws(normal: Numbers, o: Observed, rho: Numbers) -> Numbers:
    """Standard normals (T, N), each correlated by ρ^Δt with the one of the previous record of its endpoint."""

    def step(done, t):
        back, here = o.previous_record[t], o.time[t]
        last = jnp.take_along_axis(done, jnp.maximum(back, 0)[None], axis=0)[0]
        then = jnp.take_along_axis(o.time, jnp.maximum(back, 0)[None], axis=0)[0]
        r = jnp.where(back >= 0, rho ** jnp.maximum(here - then, 0.0), 0.0)
        return done.at[t].set(r * last + jnp.sqrt(1 - r**2) * normal[t]), None

    return jax.lax.scan(step, jnp.zeros_like(normal), jnp.arange(normal.shape[0]))[0]
