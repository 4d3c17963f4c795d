"""FOCEI and FOCE: first-order conditional estimation, with and without η–ε interaction (Lindstrom & Beal 1990).

    OFV = Σ_i  joint_i(η̂) + ln|information_i(η̂)|,   η̂ = argmin joint

The gradient is exact: ∂OFV/∂ψ along the path η̂(ψ) is ∂O/∂ψ − v'·∂²joint/∂η∂ψ with (∂²joint/∂η²) v = ∂O/∂η, by the
implicit function theorem. No finite differences, and no differentiation of the inner loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.fit.base import Evaluation, Numbers
from pbpk.fit.modes import conditional_modes
from pbpk.fit.problem import Problem
from pbpk.fit.quasi_newton import QuasiNewton
from pbpk.fit.subject import Terms, each_subject


@partial(jax.jit, static_argnames="interaction")
def evaluate(problem: Problem, psi: jax.Array, eta: jax.Array, interaction: bool) -> Evaluation:
    modes = conditional_modes(problem, psi, eta, interaction)
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction)

    def one(e, s):
        value, (direct, through) = jax.value_and_grad(terms.conditional, argnums=(0, 1))(psi, e, s)
        v = jnp.linalg.solve(jax.hessian(terms.joint, argnums=1)(psi, e, s), through)
        inner = jax.grad(lambda x: v @ jax.grad(terms.joint, argnums=1)(x, e, s))(psi)
        return value, direct - inner

    subjects = each_subject(problem, modes.jet, modes.zero)
    value, gradient = jax.vmap(one, in_axes=-1, out_axes=(0, -1))(modes.eta, subjects)
    return Evaluation(value, gradient, modes.eta, modes.found)


@dataclass(frozen=True)
class Foce(QuasiNewton):
    interaction: bool = False

    def evaluate(self, problem: Problem, psi: np.ndarray, eta: Numbers) -> Evaluation:
        return evaluate(problem, psi, eta, self.interaction)


FOCE = Foce("foce", "first-order conditional estimation", False)
FOCEI = Foce("focei", "first-order conditional estimation with interaction", True)
