"""FO: the model linearised at η = 0 (Sheiner & Beal 1980). Fast, biased when variability is large; EBEs come post hoc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.base import Evaluation, Numbers
from pbpk.estimation.quasi_newton import QuasiNewton, compiled_gradient
from pbpk.estimation.requirements import need_continuous
from pbpk.likelihood.mixture import combined
from pbpk.likelihood.prediction_jets import second_order
from pbpk.likelihood.subject import Terms, each_subject

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@jax.jit
def evaluate(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    theta, _, _ = problem.unpack(psi)
    jet = second_order(problem, problem.mixed(theta, 0 * eta))
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=False)
    value, gradient = compiled_gradient(lambda x, e, s: terms.first_order(x, s), psi, eta, each_subject(problem, jet))
    return combined(problem, psi, Evaluation(value, gradient, 0 * eta, jet.result == 0))


@dataclass(frozen=True)
class Fo(QuasiNewton):
    def prepare(self, problem: Problem) -> Problem:
        need_continuous(problem, self.name, quantified=True)
        return problem

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return evaluate(problem, psi, eta)


FO = Fo("fo", "first-order estimation")
