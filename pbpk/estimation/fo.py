"""FO: the model linearised at η = 0 (Sheiner & Beal 1980). Fast, biased when variability is large; EBEs come post hoc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.quasi_newton import QuasiNewton, differentiate_subjects
from pbpk.estimation.requirements import Requirements
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.mixture import combine_classes
from pbpk.likelihood.prediction_jets import second_order_jet
from pbpk.likelihood.subject import SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@jax.jit
def evaluate_first_order(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    """The FO objective of every subject at ψ (P,) and its gradient; `eta` (q, N) gives the shape alone, η comes back as 0."""
    theta, _, _ = problem.unpack(psi)
    jet = second_order_jet(problem, problem.individual_parameters(theta, 0 * eta))
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction=False)
    value, gradient = differentiate_subjects(
        lambda x, e, s: terms.first_order_objective(x, s), psi, eta, subject_arrays(problem, jet)
    )
    return combine_classes(problem, psi, Evaluation(value, gradient, 0 * eta, jet.result == 0))


@dataclass(frozen=True)
class FirstOrder(QuasiNewton):
    """The first-order method: objective and gradient come from one solution at η = 0, and η is sought after the fit."""

    finds_etas = False
    inflates_likelihood_ratios = True
    requirements = Requirements(continuous_endpoints=True, quantified_values=True)
    takes_aggregates = True

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """The FO objective by subject; η comes back as 0."""
        return evaluate_first_order(problem, psi, eta)


FO = FirstOrder("fo", "first-order estimation")
