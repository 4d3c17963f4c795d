"""Sub-populations that nobody can tell apart beforehand: a subject's likelihood is the mean over the classes.

    exp(−OFV_i/2) = Σ_k p_k exp(−OFV_ik/2)

A class is a value of a covariate that nobody observed. Every subject has a column in each class, class by class, so whatever a
method makes of one population it makes of each (McLachlan & Peel 2000; NONMEM's $MIX).
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.base import EstimationMethod, EstimationState, Evaluation, Numbers
from pbpk.likelihood.problem import Problem, select_columns


def class_probability_names(classes: int) -> tuple[str, ...]:
    """The θ that a mixture adds: the last class has what the others leave."""
    return tuple(f"P_{k}" for k in range(1, classes))


def repeat_by_class(problem: Problem, covariate: str, classes: int) -> Problem:
    """Each subject once in each class, whose number the covariate is."""
    n = problem.columns
    wide = select_columns(problem, np.tile(np.arange(n), classes))
    covariates = np.array(wide.covariates)
    covariates[:, problem.structure.individual_model.covariates.index(covariate)] = np.repeat(
        np.arange(1, classes + 1), n
    )
    return replace(wide, covariates=covariates, structure=replace(wide.structure, classes=classes))


def log_class_probabilities(problem: Problem, theta: dict) -> jax.Array:
    """ln p_k (K,)."""
    first = jnp.stack([theta[n] for n in class_probability_names(problem.structure.classes)])
    return jnp.log(jnp.append(first, 1 - jnp.sum(first)))


def combine_classes(problem: Problem, psi: jax.Array, each: Evaluation) -> Evaluation:
    """By subject, from an evaluation by subject and class."""
    k = problem.structure.classes
    if k == 1:
        return each

    def logs(x):
        return log_class_probabilities(problem, problem.unpack(x)[0])

    n = problem.subjects
    log_p, slope = logs(psi), jax.jacfwd(logs)(psi)
    terms = log_p[:, None] - each.objective.reshape(k, n) / 2
    share = jax.nn.softmax(terms, axis=0)
    inner = each.gradient.reshape(-1, k, n) - 2 * slope.T[:, :, None]
    gradient = jnp.sum(share[None] * inner, axis=1)
    good = jnp.all(each.good.reshape(k, n) | (share < 1e-8), axis=0)
    return Evaluation(-2 * jax.nn.logsumexp(terms, axis=0), gradient, each.eta, good)


def class_objectives(method: EstimationMethod, problem: Problem, state: EstimationState) -> np.ndarray:
    """Each column's own objective (K·N,), as if it were a population of one class."""
    alone = replace(problem, structure=replace(problem.structure, classes=1))
    return np.asarray(method.evaluate(alone, state.psi, state.eta).objective)


def class_memberships(problem: Problem, psi: Numbers, objective: Numbers) -> np.ndarray:
    """P(class | y) (K, N) from each column's own objective."""
    log_p = np.asarray(log_class_probabilities(problem, problem.unpack(psi)[0]))
    terms = log_p[:, None] - np.asarray(objective).reshape(problem.structure.classes, -1) / 2
    terms = np.exp(terms - terms.max(axis=0))
    return terms / terms.sum(axis=0)


def select_most_probable_class(problem: Problem, share: np.ndarray) -> tuple[Problem, np.ndarray]:
    """Each subject in its most probable class only, and which columns these are."""
    n = problem.subjects
    columns = share.argmax(axis=0) * n + np.arange(n)
    chosen = select_columns(problem, columns)
    return replace(chosen, structure=replace(chosen.structure, classes=1)), columns
