"""Replicates of a study: new random effects and new observations at its own times, from given parameters.

Counter-based: subject i of a replicate draws from fold_in(key, i), so neither batches nor devices change what is drawn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.likelihood.endpoints.likelihood import arrange_predictions, draw_records
from pbpk.likelihood.mixture import log_class_probabilities

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


def draw_eta(problem: Problem, unconstrained: jax.Array, key: jax.Array) -> jax.Array:
    """η (q, N) from N(0, Ω)."""
    omega = problem.unpack(unconstrained)[1]
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(problem.columns))
    normal = jax.vmap(lambda k: jax.random.normal(k, (omega.shape[0],)), out_axes=-1)(keys)
    return jnp.linalg.cholesky(omega) @ normal if omega.shape[0] else normal


def draw_replicate(problem: Problem, unconstrained: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One replicate: y (T, N) before any limit of quantification, NaN where the solver failed, 0 where nothing is observed;
    and the η (q, N) behind it. A mixture has a column for each class and subject; `draw_classes` says which class a subject
    is in."""
    eta = draw_eta(problem, unconstrained, jax.random.fold_in(key, 0))
    return draw_observations(problem, unconstrained, eta, jax.random.fold_in(key, 1)), eta


def draw_observations(problem: Problem, unconstrained: jax.Array, eta: jax.Array, key: jax.Array) -> jax.Array:
    """y (T, N) at these η, as `draw_replicate` returns it."""
    theta, _, sigma = problem.unpack(unconstrained)
    x, result = problem.predict_all(problem.individual_parameters(theta, eta))
    t = problem.observed_mask.shape[0]
    keys = jax.vmap(
        lambda j: jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, i), j))(jnp.arange(problem.columns))
    )(jnp.arange(t))
    o, endpoints = problem.observed_on_device(), problem.structure.endpoints
    which, mask = jnp.asarray(problem.endpoint_index), jnp.asarray(problem.observed_mask)
    y = draw_records(endpoints, which, mask, arrange_predictions(endpoints, x, x, o), o, theta | sigma, keys)
    return jnp.where(result == 0, y, jnp.nan)


def draw_classes(problem: Problem, unconstrained: jax.Array, key: jax.Array) -> jax.Array:
    """The class that each subject (N,) of a mixture is in, from 0."""
    log_p = log_class_probabilities(problem, problem.unpack(unconstrained)[0])
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(problem.subjects))
    return jax.vmap(lambda k: jax.random.categorical(k, log_p))(keys)


def replace_observations(problem: Problem, y: jax.Array, lower: jax.Array, upper: jax.Array) -> Problem:
    """The problem with y (T, N) in place of its data; below `lower` and above `upper` (T, N, or ±∞) it is censored again."""
    o = problem.observed_on_device()
    below, above = y < lower, y > upper
    recorded = jnp.where(below, lower, jnp.where(above, upper, y))
    floor = jnp.where(jnp.isfinite(o.floor), o.floor, -jnp.inf)
    low = jnp.where(below, jnp.where(floor < lower, floor, -jnp.inf), recorded)
    high = jnp.where(above, jnp.inf, recorded)
    return replace(problem, observed=o._replace(y=recorded, low=low, high=high))


def find_censoring_limits(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """The limits below and above which each endpoint's values are censored in the data (T, N); ∓∞ where none is."""
    o, which = problem.observed_on_device(), jnp.asarray(problem.endpoint_index)
    lower, upper = jnp.full_like(o.y, -jnp.inf), jnp.full_like(o.y, jnp.inf)
    for i, e in enumerate(problem.structure.endpoints):
        if not (isinstance(e, GaussianEndpoint) and e.has_limits):
            continue
        selected = (which == i) & jnp.asarray(problem.observed_mask)
        below, above = selected & o.is_censored & (o.y == o.high), selected & o.is_censored & (o.y == o.low)
        least = jnp.min(jnp.where(above, o.y, jnp.inf))
        most = jnp.max(jnp.where(below, o.y, -jnp.inf))
        lower, upper = jnp.where(selected, most, lower), jnp.where(selected, least, upper)
    return lower, upper
