"""Laplace's approximation of the marginal likelihood, with the exact Hessian (Tierney & Kadane 1986, JASA 81:82).

    OFV = Σ_i  joint_i(η̂) + ln|½ ∂²joint_i/∂η²|,   η̂ = argmin joint

FOCEI puts the expected Hessian in its place. The gradient is exact and takes third derivatives of the predictions.

Where a likelihood is not log-concave in η (many censored values, say) the Hessian at a mode can come close to singular. Its
logarithm then falls without end, and a search that follows it leaves for parameters that no data ask for, at a likelihood
that is nobody's. A subject whose Hessian has lost all but `_LEAST_SHARPNESS` of Ω⁻¹ in some direction therefore counts as
failed, and one that has lost most of it is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.estimation.state import EstimationState
from pbpk.likelihood.conditional_modes import find_conditional_modes
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.implicit import value_and_gradient_at_modes
from pbpk.likelihood.mixture import combine_classes
from pbpk.likelihood.prediction_jets import second_order_jet, third_order_jet
from pbpk.likelihood.subject import SubjectArrays, SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_LEAST_SHARPNESS, _POOR_SHARPNESS = (
    0.02,
    0.2,
)  # of Ω⁻¹ left: below the first a subject fails, below the second it is named


@jax.jit
def evaluate_laplace(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    """Laplace's objective of every subject at ψ (P,) and its gradient; `eta` (q, N) is where the modes are sought from."""
    modes = find_conditional_modes(problem, psi, eta, interaction=True)
    theta, _, _ = problem.unpack(psi)
    jet = third_order_jet(problem, problem.individual_parameters(theta, modes.eta))
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)
    subjects = subject_arrays(problem, jet)
    value, gradient = value_and_gradient_at_modes(
        terms.laplace_objective, terms.joint_minus2ll, psi, modes.eta, subjects
    )
    sharp = _measure_sharpness(problem, terms, psi, modes.eta, subjects) > _LEAST_SHARPNESS
    return combine_classes(problem, psi, Evaluation(value, gradient, modes.eta, modes.converged & sharp))


def _measure_sharpness(
    problem: Problem, terms: SubjectLikelihood, psi: jax.Array, eta: jax.Array, subjects: SubjectArrays
) -> jax.Array:
    """Of each column (N,), the least eigenvalue of the half-Hessian in units of Ω⁻¹."""
    root = jnp.linalg.cholesky(problem.unpack(psi)[1])

    def one(e, s):
        return jnp.linalg.eigvalsh(root.T @ jax.hessian(terms.joint_minus2ll, argnums=1)(psi, e, s) @ root / 2)[0]

    return jax.vmap(one, in_axes=-1)(eta, subjects)


@jax.jit
def measure_sharpness(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """How far each column's likelihood (N,) is from flat at its mode `eta` (q, N), in units of the population's: 1 or more
    where the likelihood of the data is log-concave, 0 where Laplace's approximation has no value."""
    theta, _, _ = problem.unpack(psi)
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=True)
    subjects = subject_arrays(problem, second_order_jet(problem, problem.individual_parameters(theta, eta)))
    return _measure_sharpness(problem, terms, psi, eta, subjects)


@dataclass(frozen=True)
class LaplaceApproximation(QuasiNewton):
    """Laplace's approximation, with third derivatives of the predictions in its gradient."""

    takes_aggregates = True

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """Laplace's objective by subject."""
        return evaluate_laplace(problem, psi, eta)

    def list_warnings(self, problem: Problem, state: EstimationState, subjects: Sequence[str]) -> list[str]:
        """The subjects whose likelihood is too flat for the approximation."""
        low = np.asarray(measure_sharpness(problem, state.psi, state.eta))
        poor = [str(subjects[int(i) % len(subjects)]) for i in np.argsort(low) if low[i] < _POOR_SHARPNESS]
        if not poor:
            return []
        more = f" and {len(poor) - 5} more" if len(poor) > 5 else ""
        who = ", ".join(dict.fromkeys(poor[:5])) + more
        return [
            f"Laplace's approximation is poor for ID {who}, whose likelihood is flatter than the population's spread:"
            " compare with agq or imp, which do the integral itself"
        ]


LAPLACE = LaplaceApproximation("laplace", "Laplace's approximation with the exact Hessian")
