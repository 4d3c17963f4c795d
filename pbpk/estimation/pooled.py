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
    value, gradient, _ = minus2ll_and_gradients(problem, psi, eta)
    return combine_classes(problem, psi, Evaluation(value, gradient, eta, jnp.isfinite(value)))


@dataclass(frozen=True)
class NaivePooling(QuasiNewton):
    def prepare(self, problem: Problem) -> Problem:
        """The same study without random effects: Ω leaves the list of parameters."""
        spec, layout = problem.structure, problem.structure.layout
        not_omega = np.array([not name.startswith("OMEGA_") for name in layout.names], dtype=bool)
        without_eta = tuple(replace(v, random=False, occasions=0) for v in spec.individual_model.varying)
        spec = replace(
            spec,
            individual=replace(spec.individual_model, varying=without_eta, order=()),
            layout=replace(layout, blocks=()),
        )
        return replace(problem, structure=spec, initial=np.asarray(problem.initial)[not_omega])

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return evaluate_pooled(problem, psi, eta)


POOLED = NaivePooling("pooled", "naive pooled estimation")
