"""Counts: Poisson or negative binomial, with a mean that is the prediction or follows it by exp(intercept + slope · f)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, ParameterValues, Predicted


def linear_predictor(own: dict, f: Numbers) -> Numbers:
    """intercept + slope · f, each where the endpoint has it."""
    return own.get("intercept", 0.0) + own.get("slope", 1.0) * f


@dataclass(frozen=True)
class CountEndpoint(Endpoint):
    """`spread`: variance mean + dispersion · mean² (negative binomial, NB2), else Poisson."""

    log_link: bool = False
    overdispersed: bool = False

    def mean(self, p: Predicted, sigma: ParameterValues) -> Numbers:
        return jnp.exp(linear_predictor(self.select_parameters(sigma), p.f)) if self.log_link else p.f

    def minus2ll(self, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        mean, y = self.mean(p, sigma), o.y
        if not self.overdispersed:
            return 2 * (mean - y * jnp.log(mean) + gammaln(y + 1))
        k = self.select_parameters(sigma)["dispersion"]
        size = 1 / k
        found = gammaln(y + size) - gammaln(size) - gammaln(y + 1)
        return -2 * (found - size * jnp.log1p(k * mean) + y * (jnp.log(k * mean) - jnp.log1p(k * mean)))

    def draw(self, keys: Numbers, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        mean = self.mean(p, sigma)
        if self.overdispersed:
            k = self.select_parameters(sigma)["dispersion"]
            gamma = jax.vmap(jax.vmap(lambda key: jax.random.gamma(jax.random.fold_in(key, 1), 1 / k)))(keys)
            mean = mean * gamma * k
        return jax.vmap(jax.vmap(jax.random.poisson))(keys, mean).astype(float)
