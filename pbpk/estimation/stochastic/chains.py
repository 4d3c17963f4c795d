"""Markov chains of every subject's η at given ψ: several chains a subject, all moved at once by a round of proposals.

    prior         drawn from N(0, Ω), whatever the state
    independent   drawn from a t distribution (4 degrees of freedom) around what the chains have seen of the posterior
    block         a random walk in the posterior's own shape (Haario, Saksman & Tamminen 2001, Bernoulli 7:223)
    single        a random walk along one η, in turn

Kuhn & Lavielle 2005 (Comput Stat Data Anal 49:1020) mix the first with random walks; proposals near the mode are those of
Karimi, Lavielle & Moulines 2020 (same journal 141:123), here from the chains' own moments, which needs no search for modes.
Every number drawn depends on (seed, iteration, subject) alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.stochastic.complete_data import data_minus2ll, quadratic_form

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_REFRESH, _PRIOR, _INDEPENDENT, _BLOCK, _SINGLE = range(5)
# The order of proposals in one round; the first only evaluates the likelihood at the new ψ.
KERNEL_ROUND = np.array([_REFRESH, _PRIOR, _INDEPENDENT, _BLOCK, _INDEPENDENT, _SINGLE, _SINGLE, _SINGLE])
_DEGREES_OF_FREEDOM = 4.0
_TARGET_ACCEPTANCE = 0.3  # share of a random walk's proposals


class ProposalTuning(NamedTuple):
    """What proposals are made of: the posterior's mean (q, N) as seen so far, the root and the inverse of its covariance
    (q, q, N), and the step lengths of the walks (2, N): block, single."""

    mean: jax.Array
    root: jax.Array
    precision: jax.Array
    lengths: jax.Array

    @classmethod
    def from_moments(cls, mean: jax.Array, covariance: jax.Array, lengths: jax.Array) -> ProposalTuning:
        """From the moments of the draws so far: mean (q, N) and covariance (q, q, N)."""
        each = jax.vmap(lambda c: (jnp.linalg.cholesky(c), jnp.linalg.inv(c)), in_axes=-1, out_axes=-1)
        return cls(mean, *each(covariance), lengths)


def initial_step_lengths(q: int, n: int) -> np.ndarray:
    """Step lengths of the random walks (2, N) that suit a normal posterior (Roberts & Rosenthal 2001, Stat Sci 16:351)."""
    return np.stack([np.full(n, 2.4 / np.sqrt(q)), np.full(n, 2.4)])


def tune_step_lengths(lengths: jax.Array, accepted: jax.Array) -> jax.Array:
    """Step lengths after a block of iterations, from the part accepted of each kernel's proposals (5, N)."""
    return lengths * jnp.exp(jnp.clip(2 * (accepted[np.array([_BLOCK, _SINGLE])] - _TARGET_ACCEPTANCE), -0.7, 0.7))


def move_chains(
    problem: Problem, psi: jax.Array, eta: jax.Array, tuning: ProposalTuning, key: jax.Array, iteration: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One round: η (chains, q, N) moved, −2 ln p(y | η) + η'Ω⁻¹η there (chains, N), the part accepted by kernel (5, N)."""
    chains, q, n = eta.shape
    omega = problem.unpack(psi)[1]
    precision, prior_root = jnp.linalg.inv(omega), jnp.linalg.cholesky(omega)
    sd = jnp.sqrt(jnp.einsum("ijn,ijn->in", tuning.root, tuning.root))

    def draw_numbers(subject):
        """From (seed, iteration, subject) alone, so that results do not depend on the batch."""
        one = jax.random.fold_in(jax.random.fold_in(key, iteration), subject)
        normal, uniform = jax.random.split(one)
        shape = (len(KERNEL_ROUND), chains)
        return jax.random.normal(normal, (*shape, q)), jax.random.uniform(uniform, (*shape, 3))

    z, u = jax.vmap(draw_numbers, out_axes=-1)(jnp.arange(n))  # (kernels, chains, q or 3, N)

    def independent_minus2ll(e):
        """−2 ln of the t density, but for a constant."""
        return (_DEGREES_OF_FREEDOM + q) * jnp.log1p(
            quadratic_form(tuning.precision, e - tuning.mean) / _DEGREES_OF_FREEDOM
        )

    def propose(carry, step):
        """One kernel's proposal for all chains, and its acceptance by Metropolis and Hastings."""
        eta, minus2ll, prior = carry
        kind, z, u, place = step
        # χ² with 4 degrees of freedom is −2 ln of the product of two uniforms
        heavy = jnp.sqrt(_DEGREES_OF_FREEDOM / (-2 * jnp.log(u[:, 0] * u[:, 1])))[:, None]
        shaped = jnp.einsum("ijn,cjn->cin", tuning.root, z)
        only = jax.nn.one_hot(place, q)[:, None]
        trial = jnp.select(
            [kind == _PRIOR, kind == _INDEPENDENT, kind == _BLOCK, kind == _SINGLE],
            [
                jnp.einsum("ij,cjn->cin", prior_root, z),
                tuning.mean + heavy * shaped,
                eta + tuning.lengths[0] * shaped,
                eta + tuning.lengths[1] * only * sd * z,
            ],
            eta,
        )
        trial_minus2ll, trial_prior = data_minus2ll(problem, psi, trial), quadratic_form(precision, trial)
        fall = minus2ll + prior - trial_minus2ll - trial_prior
        correction = jnp.where(kind == _PRIOR, trial_prior - prior, 0.0)
        proposal_ratio = independent_minus2ll(trial) - independent_minus2ll(eta)
        correction = jnp.where(kind == _INDEPENDENT, proposal_ratio, correction)
        accepted = (2 * jnp.log(u[:, 2]) < fall + correction) | (kind == _REFRESH)
        state = (
            jnp.where(accepted[:, None], trial, eta),
            jnp.where(accepted, trial_minus2ll, minus2ll),
            jnp.where(accepted, trial_prior, prior),
        )
        return state, accepted.mean(axis=0)

    place = (3 * iteration + jnp.cumsum(KERNEL_ROUND == _SINGLE)) % q
    nothing = jnp.full((chains, n), jnp.inf)
    (eta, minus2ll, prior), accepted = jax.lax.scan(
        propose, (eta, nothing, jnp.zeros((chains, n))), (KERNEL_ROUND, z, u, place)
    )
    counts = np.arange(5)[:, None] == KERNEL_ROUND
    counts = counts / counts.sum(axis=1, keepdims=True)
    return eta, minus2ll + prior, counts @ accepted
