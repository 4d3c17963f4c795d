"""ln of a normal probability between two limits, right in both tails and differentiable to any order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr


def log_probability_between(low: jax.Array, high: jax.Array) -> jax.Array:
    """ln(Φ(high) − Φ(low)) for standardised limits, either of which may be infinite; 0 where both are."""
    below, above = jnp.isfinite(low), jnp.isfinite(high)
    a, b = jnp.where(below, low, -1.0), jnp.where(above, high, 1.0)
    # In the upper tail both are near 1: mirrored, they are small and differ in their leading digits.
    mirrored = below & above & (a > 0)
    first, last = jnp.where(mirrored, -b, a), jnp.where(mirrored, -a, b)
    last = jnp.where(last > first, last, first + 1.0)  # not two limits: another branch is taken
    whole, part = log_ndtr(last), log_ndtr(first)
    both = whole + jnp.log(-jnp.expm1(jnp.minimum(part - whole, -1e-300)))
    one = jnp.where(above, log_ndtr(b), log_ndtr(-a))
    return jnp.where(below & above, both, jnp.where(below | above, one, 0.0))
