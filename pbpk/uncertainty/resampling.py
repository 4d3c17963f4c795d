"""What a bootstrap replicate is fitted to: how often each subject is drawn, or observations simulated under the estimates.

Counter-based: replicate r depends on the seed and r alone, however many there are and in whatever order they are made.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from pbpk.errors import BadInput, Note, did_you_mean
from pbpk.likelihood.endpoints.base import Observed
from pbpk.likelihood.replicates import draw_classes, draw_replicate, find_censoring_limits, replace_observations

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study


def assign_strata(study: Study, column: str | None) -> np.ndarray:
    """The number of each subject's stratum (N,), by its value of a column of the data; 0 without a column.

    Raises `BadInput` for a column that is not there, changes within a subject, or sets every subject apart; a stratum of one
    among larger ones is a `Note`.
    """
    if column is None:
        return np.zeros(study.problem.subjects, int)
    events = study.events
    if column not in events.covariates:
        hint = did_you_mean(column, events.covariates) or "the data hold no covariate"
        raise BadInput(f"no column `{column}` to stratify by", where=events.source, hint=hint)
    by_subject = events.frame.groupby("ID", sort=False)[column]
    changing = by_subject.nunique()
    if (changing > 1).any():
        subject = str(changing.index[changing > 1][0])
        raise BadInput(
            f"`{column}` changes within ID {subject}, so it puts a subject in no one group", where=events.source
        )
    strata = pd.factorize(by_subject.first())[0]
    sizes = np.bincount(strata)
    alone = int((sizes == 1).sum())
    if alone == len(sizes):
        raise BadInput(
            f"each of the {alone} strata by `{column}` has one subject",
            where=events.source,
            why="Every replicate would be the data themselves, and every standard error 0.",
            hint="stratify by a column with few values",
        )
    if alone:
        note = f"{alone} strata by `{column}` have one subject, which is in every replicate once: what it does is not resampled"
        warnings.warn(note, Note, stacklevel=2)
    return strata


@partial(jax.jit, static_argnames="sizes")
def _draw_indices(key: jax.Array, replicate: jax.Array, sizes: tuple[int, ...]) -> list[jax.Array]:
    """Of each stratum, as many positions in it as its size, drawn with replacement."""
    replicate_key = jax.random.fold_in(key, replicate)
    return [jax.random.randint(jax.random.fold_in(replicate_key, h), (n,), 0, n) for h, n in enumerate(sizes)]


def draw_case_weights(seed: int, replicate: int, strata: np.ndarray) -> np.ndarray:
    """How often each subject (N,) is drawn, with replacement, from each stratum as many as are in it."""
    members = [np.flatnonzero(strata == h) for h in range(strata.max() + 1)]
    drawn = _draw_indices(jax.random.key(seed), replicate, tuple(len(m) for m in members))
    weights = np.zeros(len(strata))
    for subjects, picks in zip(members, drawn, strict=True):
        np.add.at(weights, subjects[np.asarray(picks)], 1.0)
    return weights


@jax.jit
def _simulate(problem: Problem, psi: jax.Array, key: jax.Array, replicate: jax.Array) -> tuple[Observed, jax.Array]:
    """`simulate_observations` in compiled code."""
    replicate_key = jax.random.fold_in(key, replicate)
    y, eta = draw_replicate(problem, psi, jax.random.fold_in(replicate_key, 0))
    if problem.structure.classes > 1:  # a column in each class, of which a subject is in one
        member = draw_classes(problem, psi, jax.random.fold_in(replicate_key, 1))
        n = problem.subjects
        y = jnp.tile(jnp.take(y, member * n + jnp.arange(n), axis=1), (1, problem.structure.classes))
    return replace_observations(problem, y, *find_censoring_limits(problem)).observed, eta


def simulate_observations(problem: Problem, psi: np.ndarray, seed: int, replicate: int) -> tuple[Observed, np.ndarray]:
    """What would be observed in a study like this one at ψ, censored where its data are, and the η (q, N) behind it."""
    observed, eta = _simulate(problem, psi, jax.random.key(seed), replicate)
    return Observed(*(np.asarray(part) for part in observed)), np.asarray(eta)


def tabulate_weights(weights: Sequence[np.ndarray], subjects: Sequence[str]) -> pd.DataFrame:
    """A row for each replicate, a column for each subject: how often it was drawn."""
    return pd.DataFrame(np.array(weights, dtype=int), columns=pd.Index(subjects))
