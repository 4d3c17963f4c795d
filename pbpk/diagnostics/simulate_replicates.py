"""Replicates of a study under given parameters, in one compiled program: what every check by simulation compares with.

Replicate r draws from fold_in(key(seed), r), so neither how many are asked for nor how they are batched changes one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.errors import ScienceFailed
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.likelihood.mixture import log_class_probabilities
from pbpk.likelihood.replicates import draw_classes, draw_replicate

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

SUBJECTS_AT_ONCE = 512  # enough to fill the vector units, few enough for the cache


@partial(jax.jit, static_argnames="count")
def _simulate_batch(problem: Problem, psi: jax.Array, base: jax.Array, first: jax.Array, count: int) -> jax.Array:
    """y (count, T, N) of the replicates from `first` on."""

    def one(number):
        key = jax.random.fold_in(base, number)
        y, _ = draw_replicate(problem, psi, key)
        k, n = problem.structure.classes, problem.subjects
        if k == 1:
            return y
        member = draw_classes(problem, psi, jax.random.fold_in(key, 2))
        return jnp.take_along_axis(y.reshape(-1, k, n), member[None, None, :], axis=1)[:, 0]

    return jax.vmap(one)(first + jnp.arange(count))


def simulate_replicates(
    problem: Problem,
    psi: np.ndarray,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
    subjects_at_once: int = SUBJECTS_AT_ONCE,
) -> np.ndarray:
    """(count, n), coherent: each replicate's observations, subject by subject. NaN for a subject that could not be solved.

    The batches are called from the host: so the program does not depend on how many replicates are asked for, and only the
    observations stay in memory. `progress(done, of)` is called after each batch.
    """
    width, place = max(1, subjects_at_once // max(problem.columns, 1)), order_observations(problem)
    base, values = jax.random.key(seed), np.empty((count, len(place[0])))
    for first in range(0, count, width):
        last = min(first + width, count)
        y = np.asarray(_simulate_batch(problem, jnp.asarray(psi), base, jnp.asarray(first), width))
        values[first:last] = y[: last - first, *place]
        progress(last, count)
    return values


def order_observations(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The positions (time, subject), each (n,), of the observations subject by subject: the order of the lines of the data."""
    observed = np.asarray(problem.observed_mask)[:, : problem.subjects]
    time, subject = np.nonzero(observed.T)[::-1]
    return time, subject


def drop_failed_replicates(values: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """The replicates (rows) in which every subject was solved, and a note on those left out.

    Raises `ScienceFailed` where these are more than a tenth: what is left would no longer be the model's own distribution.
    """
    solved = np.isfinite(values).all(axis=1)
    failed = int((~solved).sum())
    if failed > 0.1 * len(values):
        raise ScienceFailed(
            f"{failed} of {len(values)} replicates of {name} could not be solved",
            why="the estimates spread parameters so wide that the model has no solution for some subjects",
            hint="look at the variances: one may be far too large",
        )
    note = f"{failed} of {len(values)} replicates of {name} left out: the solver failed for a subject"
    return values[solved], [note] if failed else []


@jax.jit
def _predict_typical(problem: Problem, psi: jax.Array) -> jax.Array:
    """PRED (T, N), coherent, before it is put in the order of the observations."""
    theta, _, sigma = problem.unpack(psi)
    f, _ = problem.predict(
        problem.individual_parameters(theta, jnp.zeros((len(problem.structure.layout.etas), problem.columns)))
    )
    for i, e in enumerate(problem.structure.endpoints):
        if isinstance(e, GaussianEndpoint) and e.already_transformed:
            of_endpoint = jnp.asarray(problem.endpoint_index) == i
            f = jnp.where(of_endpoint, e.to_scale(jnp.where(of_endpoint, f, 1.0), theta | sigma), f)
    if problem.structure.classes > 1:
        share = jnp.exp(log_class_probabilities(problem, theta))
        f = jnp.einsum("tkn,k->tn", f.reshape(f.shape[0], problem.structure.classes, -1), share)
    return f


def predict_typical(problem: Problem, psi: np.ndarray) -> np.ndarray:
    """PRED (n,), coherent: at η = 0, in a mixture the mean over its classes, on the scale of the data."""
    return np.asarray(_predict_typical(problem, jnp.asarray(psi)))[order_observations(problem)]
