"""Counts: Poisson or negative binomial, with a mean that is the prediction or follows it by exp(intercept + slope · f)."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, ParameterValues, Predicted


def linear_predictor(parameters: dict, f: Numbers) -> Numbers:
    """intercept + slope · f; 0 and 1 where the endpoint does not have them."""
    return parameters.get("intercept", 0.0) + parameters.get("slope", 1.0) * f


@dataclass(frozen=True)
class CountEndpoint(Endpoint):
    """How often something happened. `log_link`: the mean is exp(intercept + slope · f), else f; `overdispersed`: variance
    mean + dispersion · mean² (negative binomial, NB2), else Poisson."""

    log_link: bool = False
    overdispersed: bool = False

    def mean(self, p: Predicted, values: ParameterValues) -> Numbers:
        """The expected count (T, ...)."""
        return jnp.exp(linear_predictor(self.select_parameters(values), p.f)) if self.log_link else p.f

    def find_impossible(self, y: np.ndarray) -> tuple[np.ndarray, str]:
        """Whatever is no whole number from 0."""
        return (y < 0) | (y != y.round()), "it is a count"

    def minus2ll(self, p: Predicted, o: Observed, values: ParameterValues) -> Numbers:
        """−2 ln of the probability of the count."""
        mean, y = self.mean(p, values), o.y
        if not self.overdispersed:
            return 2 * (mean - y * jnp.log(mean) + gammaln(y + 1))
        k = self.select_parameters(values)["dispersion"]
        size = 1 / k
        coefficient = gammaln(y + size) - gammaln(size) - gammaln(y + 1)
        return -2 * (coefficient - size * jnp.log1p(k * mean) + y * (jnp.log(k * mean) - jnp.log1p(k * mean)))

    def draw(
        self, keys: Numbers, p: Predicted, o: Observed, values: ParameterValues, partner: Numbers | None = None
    ) -> Numbers:
        """A count for each key."""
        mean = self.mean(p, values)
        if self.overdispersed:  # Poisson with a mean that is gamma-distributed
            k = self.select_parameters(values)["dispersion"]
            gamma = jax.vmap(jax.vmap(lambda key: jax.random.gamma(jax.random.fold_in(key, 1), 1 / k)))(keys)
            mean = mean * gamma * k
        return jax.vmap(jax.vmap(jax.random.poisson))(keys, mean).astype(float)
