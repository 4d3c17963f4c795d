"""Residual error: the variance of an observation around its prediction f. To add a model: a line in `VARIANCES`
(observe/noise.py) and its test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from pbpk.observe.noise import VARIANCES

MODELS = VARIANCES


@dataclass(frozen=True)
class Endpoint:
    """One observable with its error model; `names` are its standard deviations among the fit's parameters."""

    observable: str
    model: str
    names: tuple[str, ...]


def variance(
    endpoints: tuple[Endpoint, ...], which: jax.Array, f: jax.Array, sigma: Mapping[str, jax.Array]
) -> jax.Array:
    """Var(y | f) for predictions f with endpoint indices `which`, the same shape."""
    result = jnp.zeros_like(f)
    for i, e in enumerate(endpoints):
        value = MODELS[e.model][1](f, *(sigma[n] for n in e.names))
        result = jnp.where(which == i, value, result)
    return result
