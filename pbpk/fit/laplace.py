"""Laplace's approximation of the marginal likelihood, with the exact Hessian (Tierney & Kadane 1986, JASA 81:82).

    OFV = Σ_i  joint_i(η̂) + ln|½ ∂²joint_i/∂η²|,   η̂ = argmin joint

FOCEI puts the expected Hessian in its place. The gradient is exact and takes third derivatives of the predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.fit.base import Evaluation, Numbers
from pbpk.fit.implicit import along_modes
from pbpk.fit.jets import third_order
from pbpk.fit.modes import conditional_modes
from pbpk.fit.problem import Problem
from pbpk.fit.quasi_newton import QuasiNewton
from pbpk.fit.subject import Terms, each_subject


@jax.jit
def evaluate(problem: Problem, psi: jax.Array, eta: jax.Array) -> Evaluation:
    modes = conditional_modes(problem, psi, eta, interaction=True)
    theta, _, _ = problem.unpack(psi)
    jet = third_order(problem, problem.mixed(theta, modes.eta))
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction=True)
    value, gradient = along_modes(terms.laplace, terms.joint, psi, modes.eta, each_subject(problem, jet))
    return Evaluation(value, gradient, modes.eta, modes.found)


@dataclass(frozen=True)
class Laplace(QuasiNewton):
    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return evaluate(problem, psi, eta)


LAPLACE = Laplace("laplace", "Laplace's approximation with the exact Hessian")
