"""Predictions with their derivatives in u, and a local polynomial that carries them into a likelihood.

A marginal likelihood of FOCEI's kind contains ∂f/∂η, so its gradient needs second derivatives of the predictions, and
nothing more. They are taken here, forward over forward, through the solver, once; everything above differentiates the
polynomial f + J·δ + ½ δ'Hδ instead, which has the same derivatives at δ = 0 and costs next to nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.fit.problem import Problem


class Jet(NamedTuple):
    """At u (k, N): f (T, N), J (k, T, N), H (k, k, T, N) or None, the solver's result codes (N,)."""

    u: jax.Array
    f: jax.Array
    first: jax.Array
    second: jax.Array | None
    result: jax.Array


def first_order(problem: Problem, u: jax.Array) -> Jet:
    basis = _basis(u)

    def along(v):
        (f, result), (df, _) = jax.jvp(problem.predict, (u,), (v,))
        return f, result, df

    f, result, first = jax.vmap(along, out_axes=(None, None, 0))(basis)
    return Jet(u, f, first, None, result)


def second_order(problem: Problem, u: jax.Array) -> Jet:
    k, basis = u.shape[0], _basis(u)
    i, j = np.triu_indices(k)

    def along(v, w):
        def inner(x):
            (f, result), (df, _) = jax.jvp(problem.predict, (x,), (w,))
            return f, result, df

        (f, result, _), (dv, _, dvw) = jax.jvp(inner, (u,), (v,))
        return f, result, dv, dvw

    f, result, dv, dvw = jax.vmap(along, out_axes=(None, None, 0, 0))(basis[i], basis[j])
    first = dv[np.array([int(np.flatnonzero(i == a)[0]) for a in range(k)])]
    pair = np.zeros((k, k), int)
    pair[i, j] = pair[j, i] = np.arange(len(i))
    return Jet(u, f, first, dvw[pair], result)


def _basis(u: jax.Array) -> jax.Array:
    """One direction per slot, the same for all subjects: subjects are independent, so N derivatives come for one."""
    return jnp.broadcast_to(jnp.eye(u.shape[0])[:, :, None], (u.shape[0], *u.shape))


def polynomial(jet: Jet, u: jax.Array) -> jax.Array:
    """f near the jet's point, for one subject (arrays without the last axis) or for all."""
    delta = u - jet.u
    f = jet.f + jnp.einsum("kt...,k...->t...", jet.first, delta)
    if jet.second is not None:
        f = f + 0.5 * jnp.einsum("jkt...,j...,k...->t...", jet.second, delta, delta)
    return f
