"""The OFV at one ψ for methods without an objective of their own: importance.py's, or, without η, the data's part."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.base import Evaluation, Numbers
from pbpk.estimation.importance import sampled
from pbpk.likelihood.mixture import combined
from pbpk.likelihood.problem import Problem

_SAMPLES, _SEED = 1024, 1
_data = jax.jit(Problem.data_loss)


def marginal(problem: Problem, psi: np.ndarray, eta: Numbers) -> tuple[Evaluation, float]:
    """By subject, and the Monte Carlo error of the sum."""
    if not eta.shape[0]:
        value = _data(problem, psi, eta)
        nothing = jnp.zeros((len(psi), len(value)))
        return combined(problem, jnp.asarray(psi), Evaluation(value, nothing, eta, jnp.isfinite(value))), 0.0
    found, effective = sampled(problem, psi, eta, _SAMPLES, _SEED)
    spread = np.maximum(1 / np.asarray(effective) - 1 / _SAMPLES, 0.0)
    good = jnp.isfinite(found.objective)  # whether the mode around which it samples was found is of no weight here
    return found._replace(good=good), 2 * float(np.sqrt(spread.sum()))
