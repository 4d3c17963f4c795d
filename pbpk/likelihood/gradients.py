"""The likelihood at given random effects with all its slopes: backwards in one call of a solver that judges by itself
(pbpk.solve.compiled_likelihood), else from predictions and their derivatives taken forward."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from pbpk.likelihood.prediction_jets import first_order_jet
from pbpk.solve.choose import restore_reverse_mode

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


def minus2ll_and_gradients(problem: Problem, psi: jax.Array, eta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """−2 log p(y | η; ψ) of each subject (N,), its slopes in ψ (P, N) and in u (k, N).

    By hand through u and the residuals' parameters: all of it runs along the subjects, where a gradient of each subject's own
    would take them one by one.
    """
    theta, _, sigma = problem.unpack(psi)
    u = problem.individual_parameters(theta, eta)
    loss, by_u, by_sigma = (
        _gradients_by_adjoint(problem, u, theta | sigma)
        if problem.has_compiled_likelihood
        else _gradients_by_jet(problem, u, theta | sigma)
    )

    def along(v: jax.Array) -> jax.Array:
        def both(p: jax.Array):
            theta, _, sigma = problem.unpack(p)
            return problem.individual_parameters(theta, eta), theta | sigma

        of_u, of_sigma = jax.jvp(both, (psi,), (v,))[1]
        return jnp.sum(by_u * of_u, axis=0) + sum(bar * of_sigma[name] for name, bar in by_sigma.items())

    return loss, jax.vmap(along)(jnp.eye(len(psi))), by_u


def _gradients_by_adjoint(problem: Problem, u: jax.Array, sigma: dict) -> tuple[jax.Array, jax.Array, dict]:
    """The loss and its slopes in u and in all parameters, (N,) each: one call of the solver."""
    back = replace(problem, structure=replace(problem.structure, solver=restore_reverse_mode(problem.structure.solver)))
    own = {name: jnp.broadcast_to(value, u.shape[-1:]) for name, value in sigma.items()}
    loss, pull = jax.vjp(back.minus2ll_at, u, own)
    return loss, *pull(jnp.ones_like(loss))


def _gradients_by_jet(problem: Problem, u: jax.Array, sigma: dict) -> tuple[jax.Array, jax.Array, dict]:
    """The same from predictions and their first derivatives, taken forward."""
    jet, own = (
        first_order_jet(problem, u),
        {name: jnp.broadcast_to(value, u.shape[-1:]) for name, value in sigma.items()},
    )
    loss, pull = jax.vjp(problem.minus2ll_of_predictions, jet.f, own)
    by_f, by_sigma = pull(jnp.ones_like(loss))
    return jnp.where(jet.result == 0, loss, jnp.inf), jnp.einsum("ktn,tn->kn", jet.first, by_f), by_sigma
