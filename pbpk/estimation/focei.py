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

from pbpk.estimation.base import Evaluation, Numbers
from pbpk.estimation.quasi_newton import QuasiNewton
from pbpk.estimation.requirements import need_continuous
from pbpk.likelihood.conditional_modes import conditional_modes
from pbpk.likelihood.implicit import along_modes
from pbpk.likelihood.mixture import combined
from pbpk.likelihood.subject import Terms, each_subject

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


@partial(jax.jit, static_argnames="interaction")
def evaluate(problem: Problem, psi: jax.Array, eta: jax.Array, interaction: bool) -> Evaluation:
    modes = conditional_modes(problem, psi, eta, interaction)
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction)

    subjects = each_subject(problem, modes.jet, modes.zero)
    value, gradient = along_modes(terms.conditional, terms.joint, psi, modes.eta, subjects)
    return combined(problem, psi, Evaluation(value, gradient, modes.eta, modes.found))


@dataclass(frozen=True)
class Foce(QuasiNewton):
    interaction: bool = False

    def prepare(self, problem: Problem) -> Problem:
        need_continuous(problem, self.name)
        return problem

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return evaluate(problem, psi, eta, self.interaction)


FOCE = Foce("foce", "first-order conditional estimation", False)
FOCEI = Foce("focei", "first-order conditional estimation with interaction", True)
