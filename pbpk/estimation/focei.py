"""FOCEI and FOCE: first-order conditional estimation, with and without η–ε interaction (Lindstrom & Beal 1990).

    OFV = Σ_i  joint_i(η̂) + ln|information_i(η̂)|,   η̂ = argmin joint

The gradient is exact (implicit.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.estimation.requirements import Requirements
from pbpk.likelihood.conditional_modes import find_conditional_modes
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.implicit import value_and_gradient_at_modes
from pbpk.likelihood.mixture import combine_classes
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@partial(jax.jit, static_argnames="interaction")
def evaluate_first_order_conditional(problem: Problem, psi: jax.Array, eta: jax.Array, interaction: bool) -> Evaluation:
    """The conditional objective of every subject at ψ (P,) and its gradient. `eta` (q, N) is where the modes are sought from;
    with `interaction` the residual variance follows η."""
    modes = find_conditional_modes(problem, psi, eta, interaction)
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction)

    subjects = subject_arrays(problem, modes.jet, modes.jet_at_zero)
    value, gradient = value_and_gradient_at_modes(
        terms.conditional_objective, terms.joint_minus2ll, psi, modes.eta, subjects
    )
    return combine_classes(problem, psi, Evaluation(value, gradient, modes.eta, modes.converged))


@dataclass(frozen=True)
class FirstOrderConditional(QuasiNewton):
    """The first-order conditional method: FOCE or, with `interaction` of η and ε, FOCEI."""

    interaction: bool = False

    requirements = Requirements(continuous_endpoints=True)
    takes_aggregates = True

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The conditional objective by subject."""
        return evaluate_first_order_conditional(problem, psi, eta, self.interaction)


FOCE = FirstOrderConditional("foce", "first-order conditional estimation", False)
FOCEI = FirstOrderConditional("focei", "first-order conditional estimation with interaction", True)
