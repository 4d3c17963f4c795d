"""Sub-populations that nobody observed (a finite mixture): a subject's likelihood is the mean over the classes.

    exp(−OFV_i/2) = Σ_k p_k exp(−OFV_ik/2)

The class is a covariate that nobody observed. Every subject has one column for each class, all subjects of class 1 first, so a
method evaluates a mixture as it evaluates one population (McLachlan & Peel 2000; NONMEM's $MIX).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.columns import select_columns
from pbpk.likelihood.evaluation import Evaluation

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_NEGLIGIBLE_SHARE = 1e-8  # in a class of which a subject has less, a failure is not a failure of the subject


def class_probability_names(classes: int) -> tuple[str, ...]:
    """The names of the θ that a mixture adds: one probability less than classes, since the last class has the remainder."""
    return tuple(f"P_{k}" for k in range(1, classes))


def repeat_by_class(problem: Problem, covariate: str, classes: int) -> Problem:
    """The problem with a column for each subject in each class; `covariate` is the number of the class, from 1."""
    n = problem.columns
    repeated = select_columns(problem, np.tile(np.arange(n), classes))
    covariates = np.array(repeated.covariates)
    index = problem.structure.individual_model.covariates.index(covariate)
    covariates[:, index] = np.repeat(np.arange(1, classes + 1), n)
    return replace(repeated, covariates=covariates, structure=replace(repeated.structure, classes=classes))


def log_class_probabilities(problem: Problem, theta: dict) -> jax.Array:
    """ln p_k of each class (K,) from θ by name."""
    estimated = jnp.stack([theta[n] for n in class_probability_names(problem.structure.classes)])
    return jnp.log(jnp.append(estimated, 1 - jnp.sum(estimated)))


def combine_classes(problem: Problem, unconstrained: jax.Array, by_class: Evaluation) -> Evaluation:
    """The evaluation by subject (N columns) from one by subject and class (K·N columns); of one class it is the same."""
    k = problem.structure.classes
    if k == 1:
        return by_class

    def log_probabilities(x):
        return log_class_probabilities(problem, problem.unpack(x)[0])

    n = problem.subjects
    log_p, slope = log_probabilities(unconstrained), jax.jacfwd(log_probabilities)(unconstrained)
    terms = log_p[:, None] - by_class.objective.reshape(k, n) / 2
    share = jax.nn.softmax(terms, axis=0)
    inner = by_class.gradient.reshape(-1, k, n) - 2 * slope.T[:, :, None]
    gradient = jnp.sum(share[None] * inner, axis=1)
    good = jnp.all(by_class.good.reshape(k, n) | (share < _NEGLIGIBLE_SHARE), axis=0)
    return Evaluation(-2 * jax.nn.logsumexp(terms, axis=0), gradient, by_class.eta, good)


def class_memberships(problem: Problem, unconstrained: Any, objective: Any) -> np.ndarray:
    """P(class | y) (K, N) from each column's own objective (K·N,)."""
    log_p = np.asarray(log_class_probabilities(problem, problem.unpack(unconstrained)[0]))
    terms = log_p[:, None] - np.asarray(objective).reshape(problem.structure.classes, -1) / 2
    terms = np.exp(terms - terms.max(axis=0))
    return terms / terms.sum(axis=0)


def select_most_probable_class(problem: Problem, membership: np.ndarray) -> tuple[Problem, np.ndarray]:
    """The problem with each subject in its most probable class only, and the numbers of the columns that are kept (N,)."""
    n = problem.subjects
    columns = membership.argmax(axis=0) * n + np.arange(n)
    selected = select_columns(problem, columns)
    return replace(selected, structure=replace(selected.structure, classes=1)), columns
