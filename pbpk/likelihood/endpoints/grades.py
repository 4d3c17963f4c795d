"""Yes or no, and ordered grades: proportional odds on a linear predictor of the prediction.

logit P(y = 1)  = intercept + slope · f           (binary; with link = "identity" P = f)
logit P(y ≥ k)  = cut_k + slope · f               (grades 0, 1, … K; McCullagh 1980, J R Stat Soc B 42:109)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.endpoints.base import Endpoint, Numbers, Observed, ParameterValues, Predicted
from pbpk.likelihood.endpoints.counts import linear_predictor


@dataclass(frozen=True)
class BinaryEndpoint(Endpoint):
    """Whether something is so, 1 or 0. `identity`: the prediction is the probability itself, else its logit follows it."""

    identity: bool = False

    def find_impossible(self, y: np.ndarray) -> tuple[np.ndarray, str]:
        """Whatever is neither 0 nor 1."""
        return (y != 0) & (y != 1), "it is 0 or 1"

    def minus2ll(self, p: Predicted, o: Observed, values: ParameterValues) -> Numbers:
        """−2 ln of the probability of the answer."""
        if self.identity:
            return -2 * jnp.where(o.y > 0.5, jnp.log(p.f), jnp.log1p(-p.f))
        x = linear_predictor(self.select_parameters(values), p.f)
        return 2 * jnp.where(o.y > 0.5, jax.nn.softplus(-x), jax.nn.softplus(x))

    def draw(
        self, keys: Numbers, p: Predicted, o: Observed, values: ParameterValues, partner: Numbers | None = None
    ) -> Numbers:
        """1 or 0 for each key."""
        chance = p.f if self.identity else jax.nn.sigmoid(linear_predictor(self.select_parameters(values), p.f))
        return (jax.vmap(jax.vmap(jax.random.uniform))(keys) < chance).astype(float)


@dataclass(frozen=True)
class OrdinalEndpoint(Endpoint):
    """A grade from 0 to `grades`, with one cut less than there are grades: cut_1 > cut_2 > …"""

    grades: int = 1

    def find_impossible(self, y: np.ndarray) -> tuple[np.ndarray, str]:
        """Whatever is no grade from 0 to `grades`."""
        return (y < 0) | (y > self.grades) | (y != y.round()), f"grades are 0 to {self.grades}"

    def _logits(self, p: Predicted, values: ParameterValues) -> list[Numbers]:
        """logit P(y ≥ k) for k = 1 … K."""
        parameters = self.select_parameters(values)
        slope = parameters.get("slope", 1.0)
        return [parameters[f"cut_{k}"] + slope * p.f for k in range(1, self.grades + 1)]

    def minus2ll(self, p: Predicted, o: Observed, values: ParameterValues) -> Numbers:
        """−2 ln of the probability of the grade."""
        x = self._logits(p, values)
        # ln(σ(a) − σ(b)) = ln σ(a) + ln σ(−b) + ln(1 − e^(b − a)), exact in both tails
        terms = [-jax.nn.softplus(x[0])]
        terms += [-jax.nn.softplus(-a) - jax.nn.softplus(b) + jnp.log1p(-jnp.exp(b - a)) for a, b in pairwise(x)]
        terms.append(-jax.nn.softplus(-x[-1]))
        log_probability = terms[-1]
        for k, term in enumerate(terms[:-1]):
            log_probability = jnp.where(jnp.round(o.y) == k, term, log_probability)
        return -2 * log_probability

    def draw(
        self, keys: Numbers, p: Predicted, o: Observed, values: ParameterValues, partner: Numbers | None = None
    ) -> Numbers:
        """A grade for each key."""
        u = jax.vmap(jax.vmap(jax.random.uniform))(keys)
        return sum(((u < jax.nn.sigmoid(x)).astype(float) for x in self._logits(p, values)), 0.0 * p.f)
