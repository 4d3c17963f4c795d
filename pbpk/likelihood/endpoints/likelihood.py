"""All endpoints of a study together: the likelihood of a subject's observations as a function of its predictions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pbpk.likelihood.endpoints.base import Endpoint, Observed, ParameterValues, Predicted, mask_others
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint

Endpoints = tuple[Endpoint, ...]


def arrange_predictions(endpoints: Endpoints, x: jax.Array, around: jax.Array, o: Observed) -> Predicted:
    """From what the model reads (T, ...), or (2T, ...) where an endpoint reads a second observable."""
    t = o.y.shape[0]
    f = x[:t]
    beside = x[t:] if any(e.second_observable for e in endpoints) else jnp.ones_like(f)
    before = jnp.where(o.previous_record >= 0, jnp.take_along_axis(f, jnp.maximum(o.previous_record, 0), axis=0), 0.0)
    return Predicted(f, around[:t], beside, before)


def record_minus2ll(
    endpoints: Endpoints, which: jax.Array, seen: jax.Array, p: Predicted, o: Observed, sigma: ParameterValues
) -> jax.Array:
    """−2 log likelihood of each observation, 0 where there is none; correlated residuals are in `correlated`'s hands."""
    found = jnp.zeros_like(p.f)
    for i, e in enumerate(endpoints):
        mine = seen & (which == i)
        found = jnp.where(mine, e.minus2ll(*mask_others(mine, p, o), sigma), found)
    return found


def record_curvatures(
    endpoints: Endpoints,
    which: jax.Array,
    seen: jax.Array,
    p: Predicted,
    o: Observed,
    sigma: ParameterValues,
    interaction: bool,
) -> jax.Array:
    """The half-Hessian of each observation's loss in its prediction, 0 where there is none."""
    found = jnp.zeros_like(p.f)
    for i, e in enumerate(endpoints):
        mine = seen & (which == i)
        found = jnp.where(mine, e.curvature(*mask_others(mine, p, o), sigma, interaction), found)
    return found


def residual_moments(
    endpoints: Endpoints, which: jax.Array, seen: jax.Array, p: Predicted, o: Observed, sigma: ParameterValues
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """On the scale of each residual: y, its mean and its variance; NaN, NaN and 1 where there is none of them."""
    y, mean, variance = jnp.full_like(p.f, jnp.nan), jnp.full_like(p.f, jnp.nan), jnp.ones_like(p.f)
    for i, e in enumerate(endpoints):
        if not isinstance(e, GaussianEndpoint):
            continue
        mine = seen & (which == i)
        safe, here = mask_others(mine, p, o)
        m, r = e.moments(safe, sigma)
        y, mean, variance = (
            jnp.where(mine, new, old)
            for new, old in zip((e.observed_on_scale(here.y, sigma), m, r), (y, mean, variance), strict=True)
        )
    return y, mean, variance


def residual_correlation(
    endpoints: Endpoints, which: jax.Array, seen: jax.Array, o: Observed, sigma: ParameterValues
) -> jax.Array | None:
    """The correlation of one subject's residuals (T, T), ρ^|Δt| within an endpoint that has one; None where none has."""
    if not any(e.correlation_name for e in endpoints):
        return None
    t = o.y.shape[0]
    found = jnp.eye(t)
    apart = jnp.abs(o.time[:, None] - o.time[None, :])
    for i, e in enumerate(endpoints):
        if e.correlation_name is not None:
            mine = seen & (which == i)
            both = mine[:, None] & mine[None, :] & ~jnp.eye(t, dtype=bool)
            # Two records of one time would be one record: their residuals keep a small part of their own.
            shared = jnp.where(apart > 0, 1.0, 1 - 1e-6)
            found = jnp.where(both, shared * sigma[e.correlation_name] ** apart, found)
    return found


def draw_records(
    endpoints: Endpoints,
    which: jax.Array,
    seen: jax.Array,
    p: Predicted,
    o: Observed,
    sigma: ParameterValues,
    keys: Any,
) -> jax.Array:
    """A replicate of y (T, N), before any limit of quantification; 0 where nothing is observed."""
    found = jnp.zeros_like(p.f)
    for i, e in enumerate(endpoints):
        mine = seen & (which == i)
        safe, here = mask_others(mine, p, o)
        found = jnp.where(mine, e.draw(keys, safe, here, sigma), found)
    return found


def subject_minus2ll(
    endpoints: Endpoints, which: jax.Array, seen: jax.Array, p: Predicted, o: Observed, sigma: ParameterValues
) -> jax.Array:
    """One subject's −2 log-likelihood where residuals of an endpoint are correlated: what they say alone, and what their
    correlation C adds, ln|C| + z'(C⁻¹ − I)z for the standardised residuals z."""
    alone = jnp.sum(record_minus2ll(endpoints, which, seen, p, o, sigma))
    c = residual_correlation(endpoints, which, seen, o, sigma)
    if c is None:
        return alone
    y, mean, r = residual_moments(endpoints, which, seen, p, o, sigma)
    z = jnp.where(seen & jnp.isfinite(y), (y - mean) / jnp.sqrt(r), 0.0)
    return alone + jnp.linalg.slogdet(c)[1] + z @ jnp.linalg.solve(c, z) - z @ z
