"""Subjects whose search for η failed: sought again from other starts, as NONMEM does with MCETA.

Where a mode is not found the subject has no likelihood, and what stands for it in the OFV may be lower than any: 50 subjects
can look thousands of units better for the one that was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from pbpk.likelihood.evaluation import Evaluation

if TYPE_CHECKING:
    from pbpk.estimation.base import EstimationMethod
    from pbpk.likelihood.problem import Problem

MOST_RETRIES = 8
_SEED = 20011
_WIDTHS = (0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0)  # standard deviations of Ω from which each retry's starts are drawn


def find_lost(evaluation: Evaluation) -> np.ndarray:
    """(N,) which subjects have no mode, or no finite objective at it."""
    good, objective = np.asarray(evaluation.good), np.asarray(evaluation.objective)
    return ~np.broadcast_to(good, objective.shape) | ~np.isfinite(objective)


def retry_lost_modes(
    method: EstimationMethod, problem: Problem, psi: np.ndarray, evaluation: Evaluation, retries: int = MOST_RETRIES
) -> tuple[Evaluation, int]:
    """The evaluation with the lost subjects' modes sought from up to `retries` other starts, and how many were found again.

    Starts are draws of the population's spread at ψ (P,), the same in every run. Subjects whose mode was found keep it, to
    the last digit.
    """
    first = find_lost(evaluation)
    if not first.any() or not method.finds_etas or not problem.structure.layout.etas or problem.structure.classes > 1:
        return evaluation, 0
    root = np.linalg.cholesky(
        np.asarray(problem.unpack(jnp.asarray(psi))[1]) + 1e-12 * np.eye(len(problem.structure.layout.etas))
    )
    draw = np.random.default_rng(_SEED)
    for width in _WIDTHS[:retries]:
        lost = find_lost(evaluation)
        if not lost.any():
            break
        starts = width * (root @ draw.standard_normal((len(root), len(lost))))
        eta = np.where(lost, starts, np.where(np.isfinite(evaluation.eta), evaluation.eta, 0.0))
        again = Evaluation(*(np.asarray(x) for x in method.evaluate(problem, psi, eta)))
        cured = lost & ~find_lost(again)
        evaluation = Evaluation(
            np.where(cured, again.objective, evaluation.objective),
            np.where(cured, again.gradient, evaluation.gradient),
            np.where(cured, again.eta, evaluation.eta),
            np.where(cured, again.good, evaluation.good),
        )
    return evaluation, int((first & ~find_lost(evaluation)).sum())
