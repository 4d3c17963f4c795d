"""All endpoints of a study together: the likelihood of a subject's observations as a function of its predictions.

Shapes: `which` (the endpoint of each observation), `mask` (where there is one), predictions and observations are (T, ...), of
one subject or with the subjects along the last axis.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pbpk.likelihood.endpoints.base import Endpoint, Observed, ParameterValues, Predicted, mask_others
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint, draw_standard_normals

Endpoints = tuple[Endpoint, ...]


def arrange_predictions(endpoints: Endpoints, x: jax.Array, variance_x: jax.Array, o: Observed) -> Predicted:
    """`Predicted` from what the model reads, (T, ...), or (2T, ...) where an endpoint reads a second observable; `variance_x`
    are the predictions that the residual variance follows."""
    t = o.y.shape[0]
    f = x[:t]
    second = x[t:] if any(e.second_observable for e in endpoints) else jnp.ones_like(f)
    last = jnp.take_along_axis(f, jnp.maximum(o.previous_record, 0), axis=0)
    return Predicted(f, variance_x[:t], second, jnp.where(o.previous_record >= 0, last, 0.0))


def record_minus2ll(
    endpoints: Endpoints, which: jax.Array, mask: jax.Array, p: Predicted, o: Observed, values: ParameterValues
) -> jax.Array:
    """−2 log likelihood of each observation, 0 where there is none; what correlated residuals add is `subject_minus2ll`'s."""
    total = jnp.zeros_like(p.f)
    for i, e in enumerate(endpoints):
        selected = mask & (which == i)
        total = jnp.where(selected, e.minus2ll(*mask_others(selected, p, o), values), total)
    return total


def record_curvatures(
    endpoints: Endpoints,
    which: jax.Array,
    mask: jax.Array,
    p: Predicted,
    o: Observed,
    values: ParameterValues,
    interaction: bool,
) -> jax.Array:
    """The half-Hessian of each observation's −2 log likelihood in its prediction, 0 where there is none."""
    curvature = jnp.zeros_like(p.f)
    for i, e in enumerate(endpoints):
        selected = mask & (which == i)
        curvature = jnp.where(selected, e.curvature(*mask_others(selected, p, o), values, interaction), curvature)
    return curvature


def residual_moments(
    endpoints: Endpoints, which: jax.Array, mask: jax.Array, p: Predicted, o: Observed, values: ParameterValues
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """On the scale of each residual: y, its mean and its variance; NaN, NaN and 1 where there is no residual."""
    y, mean, variance = jnp.full_like(p.f, jnp.nan), jnp.full_like(p.f, jnp.nan), jnp.ones_like(p.f)
    for i, e in enumerate(endpoints):
        if not isinstance(e, GaussianEndpoint):
            continue
        selected = mask & (which == i)
        p_safe, o_safe = mask_others(selected, p, o)
        m, r = e.moments(p_safe, values)
        y, mean, variance = (
            jnp.where(selected, new, old)
            for new, old in zip((e.observed_on_scale(o_safe.y, values), m, r), (y, mean, variance), strict=True)
        )
    return y, mean, variance


def residual_correlation(
    endpoints: Endpoints, which: jax.Array, mask: jax.Array, o: Observed, values: ParameterValues
) -> jax.Array | None:
    """The correlation of one subject's residuals (T, T): ρ^|Δt| within an endpoint that has one, ρ between two endpoints at one
    time that are partners; None where none has any."""
    if not any(e.is_correlated for e in endpoints):
        return None
    t = o.y.shape[0]
    correlation = jnp.eye(t)
    apart = jnp.abs(o.time[:, None] - o.time[None, :])
    for i, e in enumerate(endpoints):
        if e.correlation_name is not None:
            selected = mask & (which == i)
            both = selected[:, None] & selected[None, :] & ~jnp.eye(t, dtype=bool)
            # Two records of one time would make C singular: a small part of each residual stays its own.
            shared = jnp.where(apart > 0, 1.0, 1 - 1e-6)
            correlation = jnp.where(both, shared * values[e.correlation_name] ** apart, correlation)
        if e.partner is not None:
            mine, theirs = mask & (which == i), mask & (which == _find_endpoint(endpoints, e.partner[0]))
            pairs = (mine[:, None] & theirs[None, :]) | (theirs[:, None] & mine[None, :])
            correlation = jnp.where(pairs & (apart == 0), values[e.partner[1]], correlation)
    return correlation


def _find_endpoint(endpoints: Endpoints, name: str) -> int:
    return next(k for k, e in enumerate(endpoints) if e.name == name)


def _find_partner_records(which: jax.Array, mask: jax.Array, o: Observed, partner: int) -> jax.Array:
    """For each record (T, N) the number of the partner's record of the same time and subject, or -1."""
    theirs = mask & (which == partner)
    same = (o.time[:, None] == o.time[None]) & theirs[None]
    return jnp.where(same.any(axis=1), jnp.argmax(same, axis=1), -1)


def draw_records(
    endpoints: Endpoints,
    which: jax.Array,
    mask: jax.Array,
    p: Predicted,
    o: Observed,
    values: ParameterValues,
    keys: Any,
) -> jax.Array:
    """A replicate of y (T, N) with a key for each, before any limit of quantification; 0 where nothing is observed."""
    y = jnp.zeros_like(p.f)
    for i, e in enumerate(endpoints):
        selected = mask & (which == i)
        behind = None
        if e.partner is not None:
            place = _find_partner_records(which, mask, o, _find_endpoint(endpoints, e.partner[0]))
            normals = draw_standard_normals(keys)
            behind = jnp.where(place >= 0, jnp.take_along_axis(normals, jnp.maximum(place, 0), axis=0), jnp.nan)
        y = jnp.where(selected, e.draw(keys, *mask_others(selected, p, o), values, behind), y)
    return y


def subject_minus2ll(
    endpoints: Endpoints, which: jax.Array, mask: jax.Array, p: Predicted, o: Observed, values: ParameterValues
) -> jax.Array:
    """One subject's −2 log-likelihood, all its arrays (T,): the sum over its records, and where residuals of an endpoint are
    correlated by C also ln|C| + z'(C⁻¹ − I)z, z being the standardised residuals."""
    independent = jnp.sum(record_minus2ll(endpoints, which, mask, p, o, values))
    c = residual_correlation(endpoints, which, mask, o, values)
    if c is None:
        return independent
    y, mean, r = residual_moments(endpoints, which, mask, p, o, values)
    z = jnp.where(mask & jnp.isfinite(y), (y - mean) / jnp.sqrt(r), 0.0)
    return independent + jnp.linalg.slogdet(c)[1] + z @ jnp.linalg.solve(c, z) - z @ z
