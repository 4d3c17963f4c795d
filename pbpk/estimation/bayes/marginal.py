"""The OFV at one ψ for methods without an objective of their own: importance.py's, or, without η, the data's part."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.importance import evaluate_by_sampling
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.mixture import combine_classes
from pbpk.likelihood.problem import Problem

_SAMPLES, _SEED = 1024, 1
_evaluate_data = jax.jit(Problem.data_minus2ll)


def evaluate_marginal(problem: Problem, psi: np.ndarray, eta: Numbers) -> tuple[Evaluation, float]:
    """The marginal likelihood by subject, without its gradient where there is no η, and the Monte Carlo error of the sum."""
    if not eta.shape[0]:
        value = _evaluate_data(problem, psi, eta)
        nothing = jnp.zeros((len(psi), len(value)))
        return combine_classes(problem, jnp.asarray(psi), Evaluation(value, nothing, eta, jnp.isfinite(value))), 0.0
    evaluation, effective = evaluate_by_sampling(problem, psi, eta, _SAMPLES, _SEED)
    spread = np.maximum(1 / np.asarray(effective) - 1 / _SAMPLES, 0.0)
    good = jnp.isfinite(evaluation.objective)  # it does not matter whether the mode around which it samples was found
    return evaluation._replace(good=good), 2 * float(np.sqrt(spread.sum()))
