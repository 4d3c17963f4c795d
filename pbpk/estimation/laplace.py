"""Laplace's approximation of the marginal likelihood, with the exact Hessian (Tierney & Kadane 1986, JASA 81:82).

    OFV = Σ_i  joint_i(η̂) + ln|½ ∂²joint_i/∂η²|,   η̂ = argmin joint

FOCEI puts the expected Hessian in its place. The gradient is exact and takes third derivatives of the predictions.

Where a likelihood is not log-concave in η (many censored values, say) the Hessian at a mode can come close to singular. Its
logarithm then falls without end, and a search that follows it leaves for parameters that no data ask for, at a likelihood
that is nobody's. A subject whose Hessian has lost all but `_LEAST` of Ω⁻¹ in some direction therefore counts as lost, and one
that has lost most of it is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.base import Evaluation, Numbers, State
from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.likelihood.conditional_modes import conditional_modes
from pbpk.likelihood.implicit import along_modes
from pbpk.likelihood.mixture import combined
from pbpk.likelihood.prediction_jets import second_order, third_order
from pbpk.likelihood.subject import Subject, Terms, each_subject

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_LEAST, _POOR = 0.02, 0.2


@jax.jit
def evaluate(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    modes = conditional_modes(problem, psi, eta, interaction=True)
    theta, _, _ = problem.unpack(psi)
    jet = third_order(problem, problem.mixed(theta, modes.eta))
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=True)
    subjects = each_subject(problem, jet)
    value, gradient = along_modes(terms.laplace, terms.joint, psi, modes.eta, subjects)
    sharp = _sharpness(problem, terms, psi, modes.eta, subjects) > _LEAST
    return combined(problem, psi, Evaluation(value, gradient, modes.eta, modes.found & sharp))


def _sharpness(problem: Problem, terms: Terms, psi: jax.Array, eta: jax.Array, subjects: Subject) -> jax.Array:
    """Of each column (N,), the least eigenvalue of the half-Hessian in units of Ω⁻¹: at least 1 where the likelihood of the
    data is log-concave."""
    root = jnp.linalg.cholesky(problem.unpack(psi)[1])

    def one(e, s):
        return jnp.linalg.eigvalsh(root.T @ jax.hessian(terms.joint, argnums=1)(psi, e, s) @ root / 2)[0]

    return jax.vmap(one, in_axes=-1)(eta, subjects)


@jax.jit
def sharpness(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    theta, _, _ = problem.unpack(psi)
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=True)
    subjects = each_subject(problem, second_order(problem, problem.mixed(theta, eta)))
    return _sharpness(problem, terms, psi, eta, subjects)


@dataclass(frozen=True)
class Laplace(QuasiNewton):
    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return evaluate(problem, psi, eta)

    def remarks(self, problem: Problem, state: State, subjects: Sequence[str]) -> list[str]:
        low = np.asarray(sharpness(problem, state.psi, state.eta))
        poor = [str(subjects[int(i) % len(subjects)]) for i in np.argsort(low) if low[i] < _POOR]
        if not poor:
            return []
        more = f" and {len(poor) - 5} more" if len(poor) > 5 else ""
        who = ", ".join(dict.fromkeys(poor[:5])) + more
        return [
            f"Laplace's approximation is poor for ID {who}, whose likelihood is flatter than the population's spread:"
            " compare with agq or imp, which do the integral itself"
        ]


LAPLACE = Laplace("laplace", "Laplace's approximation with the exact Hessian")
