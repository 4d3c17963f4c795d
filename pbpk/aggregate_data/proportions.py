"""Proportions, exactly binomial with the population's average probability; correlations by Fisher's z."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, ndtr


def compute_response_probability(form: str, exposure: jax.Array, half: jax.Array, slope: jax.Array) -> jax.Array:
    """Probability of a response at each exposure: the logistic function of slope · ln(exposure/half), or for another `form`
    (probit) the normal distribution function of it; 1/2 at `half`, 0 at no exposure."""
    safe = jnp.where(exposure > 0, exposure, 1.0)
    u = slope * jnp.log(safe / half)
    return jnp.where(exposure > 0, jax.nn.sigmoid(u) if form == "loglogistic" else ndtr(u), 0.0)


def evaluate_proportion(p: jax.Array, count: jax.Array, n: jax.Array):
    """−2 ln P(count of n); prediction and sampling SD. p (M,): each virtual patient's probability."""
    mean = jnp.clip(jnp.mean(p), 1e-12, 1 - 1e-12)
    log = gammaln(n + 1) - gammaln(count + 1) - gammaln(n - count + 1)
    log = log + count * jnp.log(mean) + (n - count) * jnp.log1p(-mean)
    return -2 * log, mean, jnp.sqrt(mean * (1 - mean) / n)


def evaluate_correlation(x: jax.Array, y: jax.Array, r: jax.Array, n: jax.Array):
    """−2 ln density of atanh r, normal about the model's own with variance 1/(n − 3), less ln 2π."""
    a, b = x - jnp.mean(x), y - jnp.mean(y)
    rho = jnp.mean(a * b) / jnp.sqrt(jnp.mean(a**2) * jnp.mean(b**2))
    rho = jnp.clip(rho, -1 + 1e-9, 1 - 1e-9)
    z = jnp.sqrt(n - 3) * (jnp.arctanh(r) - jnp.arctanh(rho))
    return z**2 - jnp.log(n - 3), rho, (1 - rho**2) / jnp.sqrt(n - 3)
