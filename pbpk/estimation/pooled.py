"""Naive pooling: all observations as if from one patient, no random effects. A first look, and a source of initial values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.base import Evaluation, Numbers
from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.likelihood.gradients import slopes
from pbpk.likelihood.mixture import combined

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@jax.jit
def evaluate(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    value, gradient, _ = slopes(problem, psi, eta)
    return combined(problem, psi, Evaluation(value, gradient, eta, jnp.isfinite(value)))


@dataclass(frozen=True)
class Pooled(QuasiNewton):
    def prepare(self, problem: Problem) -> Problem:
        """The same study without random effects: Ω leaves the list of parameters."""
        spec, layout = problem.spec, problem.spec.layout
        kept = np.array([not name.startswith("OMEGA_") for name in layout.names], dtype=bool)
        still = tuple(replace(v, random=False, occasions=0) for v in spec.individual.varying)
        spec = replace(
            spec, individual=replace(spec.individual, varying=still, order=()), layout=replace(layout, blocks=())
        )
        return replace(problem, spec=spec, initial=np.asarray(problem.initial)[kept])

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return evaluate(problem, psi, eta)


POOLED = Pooled("pooled", "naive pooled estimation")
