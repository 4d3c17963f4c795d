"""Naive pooling: all observations as if from one patient, no random effects. A first look, and a source of initial values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.likelihood.endpoints.base import Numbers
from pbpk.likelihood.evaluation import Evaluation
from pbpk.likelihood.gradients import minus2ll_and_gradients
from pbpk.likelihood.mixture import combine_classes

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@jax.jit
def evaluate_pooled(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    """−2 ln p(y) of every subject at ψ (P,) and its gradient, in a problem without random effects: `eta` is (0, N)."""
    value, gradient, _ = minus2ll_and_gradients(problem, psi, eta)
    return combine_classes(problem, psi, Evaluation(value, gradient, eta, jnp.isfinite(value)))


@dataclass(frozen=True)
class NaivePooling(QuasiNewton):
    """Naive pooling: the ordinary likelihood of all observations, with the parameters of one typical patient."""

    def prepare(self, problem: Problem) -> Problem:
        """The same study without random effects: Ω leaves the list of parameters."""
        structure, layout = problem.structure, problem.structure.layout
        not_omega = np.array([not name.startswith("OMEGA_") for name in layout.names], dtype=bool)
        without_eta = tuple(replace(v, random=False, occasions=0) for v in structure.individual_model.varying)
        structure = replace(
            structure,
            individual_model=replace(structure.individual_model, varying=without_eta, order=()),
            layout=replace(layout, blocks=()),
        )
        return replace(problem, structure=structure, initial=np.asarray(problem.initial)[not_omega])

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        """−2 ln p(y) by subject."""
        return evaluate_pooled(problem, psi, eta)


POOLED = NaivePooling("pooled", "naive pooled estimation")
