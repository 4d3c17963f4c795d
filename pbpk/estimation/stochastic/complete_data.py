"""The complete-data likelihood of many draws of η at once: η (draws, q, N), on NONMEM's scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from pbpk.likelihood.gradients import minus2ll_and_gradients
from pbpk.likelihood.prediction_jets import PredictionJet, evaluate_jet, first_order_jet

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem


def data_minus2ll(problem: Problem, psi: jax.Array, eta: jax.Array) -> jax.Array:
    """−2 log p(y | η; ψ) of each draw and subject (draws, N)."""
    return jax.vmap(lambda e: problem.data_minus2ll(psi, e))(eta)


def quadratic_form(precision: jax.Array, eta: jax.Array) -> jax.Array:
    """η'Aη (draws, N), for A (q, q) or one for each subject (q, q, N)."""
    shared = "ij,cjn->cin" if precision.ndim == 2 else "ijn,cjn->cin"
    return jnp.sum(eta * jnp.einsum(shared, precision, eta), axis=1)


def differentiate_data(problem: Problem, psi: jax.Array, eta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """−2 log p(y | η; ψ) of each subject (N,), its slopes in ψ (P, N) and in η (q, N)."""
    loss, by_psi, by_u = minus2ll_and_gradients(problem, psi, eta)
    theta, _, _ = problem.unpack(psi)
    basis = jnp.broadcast_to(jnp.eye(len(eta))[:, :, None], (len(eta), *eta.shape))
    u_by_eta = jax.vmap(lambda v: jax.jvp(lambda e: problem.individual_parameters(theta, e), (eta,), (v,))[1])(basis)
    return loss, by_psi, jnp.einsum("kn,qkn->qn", by_u, u_by_eta)


def differentiate_omega_terms(problem: Problem, psi: jax.Array, square: jax.Array) -> jax.Array:
    """∂/∂ψ of tr(Ω⁻¹S) + ln|Ω| (P, N), for each subject's second moment S (q, q, N)."""
    omega, slopes = problem.unpack(psi)[1], jax.jacfwd(lambda p: problem.unpack(p)[1])(psi)
    precision = jnp.linalg.inv(omega)
    each = jnp.einsum("ij,jkp->ikp", precision, slopes)
    off = jnp.eye(len(omega))[:, :, None] - jnp.einsum("ij,jkn->ikn", precision, square)
    return jnp.einsum("ijn,jip->pn", off, each)


def linearise_data_around(
    problem: Problem, psi: jax.Array, eta: jax.Array, moving: bool
) -> Callable[[jax.Array], jax.Array]:
    """The mean over draws of Σ_i −2 log p(y_i | η_i; ψ'), a function of ψ' near ψ that is cheap to differentiate.

    Predictions are linear in what ψ' makes of u, so that second derivatives are Gauss–Newton's there and exact in the
    parameters of the residuals. `moving` False: ψ' moves no prediction, and no derivative of the solver is taken.
    """
    theta, _, _ = problem.unpack(psi)

    def jet(e: jax.Array) -> PredictionJet:
        u = problem.individual_parameters(theta, e)
        if moving:
            return first_order_jet(problem, u)
        x, result = problem.predict_all(u)
        return PredictionJet(u, x, jnp.zeros((u.shape[0], *x.shape)), None, result)

    jets = jax.vmap(jet)(eta)

    def mean(other: jax.Array) -> jax.Array:
        theta, _, sigma = problem.unpack(other)

        def one(e: jax.Array, jet: PredictionJet) -> jax.Array:
            x = evaluate_jet(jet, problem.individual_parameters(theta, e)) if moving else jet.f
            return problem.minus2ll_of_predictions(x, theta | sigma)

        return jnp.sum(jax.vmap(one)(eta, jets)) / eta.shape[0]

    return mean
