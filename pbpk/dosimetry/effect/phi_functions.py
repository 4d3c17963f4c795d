"""φ_k(x) = ∫₀¹ e^((1−u)x) u^(k−1)/(k−1)! du: what integrals of exponentials are made of, without 0/0 where exponents meet."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_U, _W = (_NODES + 1) / 2, _WEIGHTS / 2


def phi(k: int, x: Any) -> Any:
    """φ_k, k ≥ 1; by its recursion from e^x, by its series near 0."""
    x = jnp.asarray(x, float)
    small = jnp.abs(x) < 1
    near, series = jnp.where(small, x, 0.0), jnp.zeros_like(x)
    for n in reversed(range(18)):
        series = series * near + 1.0 / math.factorial(n + k)
    away = jnp.where(small, 1.0, x)
    value = jnp.exp(away)
    for i in range(k):
        value = (value - 1 / math.factorial(i)) / away
    return jnp.where(small, series, value)


def phi1_slope(x: Any, y: Any) -> Any:
    """The divided difference (φ₁(x) − φ₁(y))/(x − y), φ₁' where they meet."""
    x, y = jnp.broadcast_arrays(jnp.asarray(x, float), jnp.asarray(y, float))
    near = jnp.abs(x - y) < 0.5
    between = y[..., None] + jnp.where(near, x - y, 0.0)[..., None] * _U
    mean = ((phi(1, between) - phi(2, between)) * _W).sum(-1)  # φ₁' = φ₁ − φ₂
    return jnp.where(near, mean, (phi(1, x) - phi(1, y)) / jnp.where(near, 1.0, x - y))
