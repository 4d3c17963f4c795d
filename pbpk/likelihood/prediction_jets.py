"""Predictions with their derivatives in individual parameters, and a local polynomial that carries them into a likelihood.

A marginal likelihood of FOCEI's kind contains ∂f/∂η, so its gradient needs second derivatives of the predictions, and
nothing more. They are taken here, forward over forward, through the solver, once; everything above differentiates the
polynomial f + J·δ + ½ δ'Hδ instead, which has the same derivatives at δ = 0 and costs next to nothing.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


class PredictionJet(NamedTuple):
    """Predictions near individual parameters (k, N): f (T, N), J (k, T, N), H (k, k, T, N) or None, the solver's result codes
    (N,), and third derivatives (k, k, k, T, N) or None."""

    individual: jax.Array
    f: jax.Array
    first: jax.Array
    second: jax.Array | None
    result: jax.Array
    third: jax.Array | None = None


def first_order_jet(problem: Problem, individual: jax.Array) -> PredictionJet:
    """Predictions and their first derivatives: k tangents of the solver."""
    basis = _basis(individual)

    def directional(v):
        (f, result), (df, _) = jax.jvp(problem.predict_all, (individual,), (v,))
        return f, result, df

    f, result, first = jax.vmap(directional, out_axes=(None, None, 0))(basis)
    return PredictionJet(individual, f, first, None, result)


def second_order_jet(problem: Problem, individual: jax.Array) -> PredictionJet:
    """Predictions and their first and second derivatives: tangents of tangents, one for each pair of directions."""
    k, basis = individual.shape[0], _basis(individual)
    i, j = np.triu_indices(k)

    def directional(v, w):
        def inner(x):
            (f, result), (df, _) = jax.jvp(problem.predict_all, (x,), (w,))
            return f, result, df

        (f, result, _), (dv, _, dvw) = jax.jvp(inner, (individual,), (v,))
        return f, result, dv, dvw

    f, result, dv, dvw = jax.vmap(directional, out_axes=(None, None, 0, 0))(basis[i], basis[j])
    first = dv[np.array([int(np.flatnonzero(i == a)[0]) for a in range(k)])]
    pair = np.zeros((k, k), int)
    pair[i, j] = pair[j, i] = np.arange(len(i))
    return PredictionJet(individual, f, first, dvw[pair], result)


def third_order_jet(problem: Problem, individual: jax.Array) -> PredictionJet:
    """Also the third derivatives: the gradient of Laplace's objective needs them, whose determinant has second ones."""
    k, basis = individual.shape[0], _basis(individual)
    triples = np.array(list(combinations_with_replacement(range(k), 3)))

    def directional(v, w, z):
        def one(x):
            (f, result), (df, _) = jax.jvp(problem.predict_all, (x,), (z,))
            return f, result, df

        def two(x):
            (f, result, dz), (dw, _, dwz) = jax.jvp(one, (x,), (w,))
            return f, result, dz, dw, dwz

        (f, result, *_), (dv, _, _, dvw, dvwz) = jax.jvp(two, (individual,), (v,))
        return f, result, dv, dvw, dvwz

    out_axes = (None, None, 0, 0, 0)
    f, result, dv, dvw, dvwz = jax.vmap(directional, out_axes=out_axes)(*(basis[triples[:, a]] for a in range(3)))
    place = {tuple(t): n for n, t in enumerate(triples.tolist())}
    first = np.array([place[a, a, a] for a in range(k)])
    pair = np.array([[place[tuple(sorted((a, b, max(a, b))))] for b in range(k)] for a in range(k)])
    third = np.array([[[place[tuple(sorted((a, b, c)))] for c in range(k)] for b in range(k)] for a in range(k)])
    return PredictionJet(individual, f, dv[first], dvw[pair], result, dvwz[third])


def _basis(individual: jax.Array) -> jax.Array:
    """One direction for each individual parameter (k, k, N), the same for all subjects: subjects are independent, so N
    derivatives come for the price of one."""
    k = individual.shape[0]
    return jnp.broadcast_to(jnp.eye(k)[:, :, None], (k, *individual.shape))


def evaluate_jet(jet: PredictionJet, individual: jax.Array) -> jax.Array:
    """f near the jet's point, for one subject (arrays without the last axis) or for all."""
    delta = individual - jet.individual
    f = jet.f + jnp.einsum("kt...,k...->t...", jet.first, delta)
    if jet.second is not None:
        f = f + 0.5 * jnp.einsum("jkt...,j...,k...->t...", jet.second, delta, delta)
    if jet.third is not None:
        f = f + jnp.einsum("ijkt...,i...,j...,k...->t...", jet.third, delta, delta, delta) / 6
    return f
