"""The likelihood at given random effects with all its gradients: by the adjoint in one call of a solver that has compiled
likelihoods (pbpk.solve.compiled_likelihood), else from predictions and their derivatives taken forward."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from pbpk.likelihood.prediction_jets import first_order_jet
from pbpk.solve.choose import restore_reverse_mode

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


def minus2ll_and_gradients(
    problem: Problem, unconstrained: jax.Array, eta: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """−2 log p(y | η; ψ) of each subject (N,), its gradients in ψ (P, N) and in the individual parameters (k, N).

    The chain rule through the individual parameters and the residuals' parameters is written out, so that everything stays
    vectorised over the subjects; `jax.grad` of each subject's own would take them one by one.
    """
    theta, _, sigma = problem.unpack(unconstrained)
    individual = problem.individual_parameters(theta, eta)
    evaluate = _gradients_by_adjoint if problem.has_compiled_likelihood else _gradients_by_jet
    minus2ll, by_individual, by_value = evaluate(problem, individual, theta | sigma)

    def directional(v: jax.Array) -> jax.Array:
        def depends(x: jax.Array):
            theta, _, sigma = problem.unpack(x)
            return problem.individual_parameters(theta, eta), theta | sigma

        d_individual, d_values = jax.jvp(depends, (unconstrained,), (v,))[1]
        return jnp.sum(by_individual * d_individual, axis=0) + sum(g * d_values[name] for name, g in by_value.items())

    return minus2ll, jax.vmap(directional)(jnp.eye(len(unconstrained))), by_individual


def _gradients_by_adjoint(problem: Problem, individual: jax.Array, values: dict) -> tuple[jax.Array, jax.Array, dict]:
    """−2 log p(y | η) and its gradients in the individual parameters and in each value, (N,): one call of the solver."""
    solver = restore_reverse_mode(problem.structure.solver)
    reverse = replace(problem, structure=replace(problem.structure, solver=solver))
    by_subject = {name: jnp.broadcast_to(value, individual.shape[-1:]) for name, value in values.items()}
    minus2ll, pull_back = jax.vjp(reverse.minus2ll_at, individual, by_subject)
    return minus2ll, *pull_back(jnp.ones_like(minus2ll))


def _gradients_by_jet(problem: Problem, individual: jax.Array, values: dict) -> tuple[jax.Array, jax.Array, dict]:
    """The same from predictions and their first derivatives, taken forward."""
    jet = first_order_jet(problem, individual)
    by_subject = {name: jnp.broadcast_to(value, individual.shape[-1:]) for name, value in values.items()}
    minus2ll, pull_back = jax.vjp(problem.minus2ll_of_predictions, jet.f, by_subject)
    by_f, by_value = pull_back(jnp.ones_like(minus2ll))
    by_individual = jnp.einsum("ktn,tn->kn", jet.first, by_f)
    return jnp.where(jet.result == 0, minus2ll, jnp.inf), by_individual, by_value
