"""Yes or no, and ordered grades: proportional odds on a linear predictor of the prediction.

logit P(y = 1)  = intercept + slope · f           (binary; with link = "identity" P = f)
logit P(y ≥ k)  = cut_k + slope · f               (grades 0, 1, … K; McCullagh 1980, J R Stat Soc B 42:109)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, ParameterValues, Predicted
from pbpk.likelihood.endpoints.counts import linear_predictor


@dataclass(frozen=True)
class BinaryEndpoint(Endpoint):
    identity: bool = False

    def minus2ll(self, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        if self.identity:
            return -2 * jnp.where(o.y > 0.5, jnp.log(p.f), jnp.log1p(-p.f))
        x = linear_predictor(self.select_parameters(sigma), p.f)
        return 2 * jnp.where(o.y > 0.5, jax.nn.softplus(-x), jax.nn.softplus(x))

    def draw(self, keys: Numbers, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        chance = p.f if self.identity else jax.nn.sigmoid(linear_predictor(self.select_parameters(sigma), p.f))
        return (jax.vmap(jax.vmap(jax.random.uniform))(keys) < chance).astype(float)


@dataclass(frozen=True)
class OrdinalEndpoint(Endpoint):
    """Grades 0 … `grades`; cut_1 > cut_2 > …"""

    grades: int = 1

    def _logits(self, p: Predicted, sigma: ParameterValues) -> list[Numbers]:
        """logit P(y ≥ k) for k = 1 … K."""
        own = self.select_parameters(sigma)
        return [own[f"cut_{k}"] + own.get("slope", 1.0) * p.f for k in range(1, self.grades + 1)]

    def minus2ll(self, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        x = self._logits(p, sigma)
        # ln(σ(a) − σ(b)) = ln σ(a) + ln σ(−b) + ln(1 − e^(b − a)), exact in both tails
        terms = [-jax.nn.softplus(x[0])]
        terms += [-jax.nn.softplus(-a) - jax.nn.softplus(b) + jnp.log1p(-jnp.exp(b - a)) for a, b in pairwise(x)]
        terms.append(-jax.nn.softplus(-x[-1]))
        found = terms[-1]
        for k, term in enumerate(terms[:-1]):
            found = jnp.where(jnp.round(o.y) == k, term, found)
        return -2 * found

    def draw(self, keys: Numbers, p: Predicted, o: Observed, sigma: ParameterValues) -> Numbers:
        u = jax.vmap(jax.vmap(jax.random.uniform))(keys)
        return sum(((u < jax.nn.sigmoid(x)).astype(float) for x in self._logits(p, sigma)), 0.0 * p.f)
