"""ln of a normal probability between two limits, right in both tails and differentiable to any order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr


def log_probability_between(low: jax.Array, high: jax.Array) -> jax.Array:
    """ln(Φ(high) − Φ(low)) for standardised limits, either of which may be infinite; 0 where both are."""
    has_low, has_high = jnp.isfinite(low), jnp.isfinite(high)
    a, b = jnp.where(has_low, low, -1.0), jnp.where(has_high, high, 1.0)
    # In the upper tail both are near 1: mirrored, they are small and differ in their leading digits.
    mirrored = has_low & has_high & (a > 0)
    first, last = jnp.where(mirrored, -b, a), jnp.where(mirrored, -a, b)
    last = jnp.where(last > first, last, first + 1.0)  # not two limits: another branch is taken
    log_last, log_first = log_ndtr(last), log_ndtr(first)
    # −1e-300 keeps the logarithm finite where the two are equal.
    between = log_last + jnp.log(-jnp.expm1(jnp.minimum(log_first - log_last, -1e-300)))
    one_sided = jnp.where(has_high, log_ndtr(b), log_ndtr(-a))
    return jnp.where(has_low & has_high, between, jnp.where(has_low | has_high, one_sided, 0.0))
