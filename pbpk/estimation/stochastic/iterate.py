"""Iterations of SAEM, a stretch of them compiled as one program: draw, average, maximise."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.stochastic import phases
from pbpk.estimation.stochastic.chains import Tuning, move
from pbpk.estimation.stochastic.maximise import Moments, average, descend, recentre, respread
from pbpk.estimation.stochastic.roles import Roles, shifts

if TYPE_CHECKING:
    from pbpk.estimation.base import Numbers
    from pbpk.likelihood.problem import Problem

_COOLING, _CREEPING = 0.05, 0.1  # while annealed: most that a log standard deviation falls, that the rest moves
_PACE = 0.02  # of the moments that proposals are made of, once many draws are in
_WIDER = 1e-3  # of the prior's variance, so that no proposal is a point


class Walk(NamedTuple):
    """What an iteration hands to the next: ψ, η (chains, q, N), averaged moments and, for the proposals, running means of η
    (q, N) and of ηη' (q, q, N)."""

    psi: Numbers
    eta: Numbers
    moments: Moments
    mean: Numbers
    square: Numbers


class Plan(NamedTuple):
    """For each iteration of a stretch: its number, its gain, whether ψ moves, whether it is annealed."""

    iteration: Numbers
    gain: Numbers
    learn: Numbers
    annealed: Numbers

    @classmethod
    def of(cls, first: int, turned: int) -> Plan:
        number = np.arange(first, first + phases.STRETCH)
        return cls(number, phases.gains(number, turned), number >= phases.WARM, number < phases.WARM + phases.ANNEALED)


@partial(jax.jit, static_argnames="roles")
def stretch(
    problem: Problem, roles: Roles, walk: Walk, lengths: jax.Array, start: jax.Array, seed: jax.Array, plan: Plan
) -> tuple[Walk, jax.Array, jax.Array, jax.Array, jax.Array]:
    """The walk after the planned iterations, the part accepted of each kernel's proposals (5, N), the path of ψ, that of
    −2 ln p(y, η), and the last slope of the OFV in ψ, as the draws have it (Fisher's identity)."""
    key = jax.random.key(seed)
    shift = shifts(problem, walk.psi, jnp.zeros_like(walk.mean))[0]
    prior = jnp.diag(jnp.diag(problem.unpack(walk.psi)[1]))
    spread = walk.square - jnp.einsum("in,jn->ijn", walk.mean, walk.mean) + _WIDER * prior[:, :, None]
    tuning = Tuning.of(walk.mean, spread, lengths)

    def iterate(walk: Walk, plan: Plan):
        n = walk.eta.shape[-1]
        eta, loss, accepted = move(problem, walk.psi, walk.eta, tuning._replace(mean=walk.mean), key, plan.iteration)
        complete = jnp.sum(loss) / len(eta) + n * jnp.linalg.slogdet(problem.unpack(walk.psi)[1])[1]
        psi, moments, by, slope = maximise(average(walk.moments, eta, plan.gain), walk.psi, eta, plan)
        new, old = (psi, moments, by), (walk.psi, walk.moments, jnp.zeros_like(by))
        psi, moments, by = jax.tree.map(lambda a, b: jnp.where(plan.learn, a, b), new, old)
        eta = eta + by
        mean, square = walk.mean + by, recentred(walk.square, walk.mean, by)
        pace = jnp.maximum(_PACE, 1 / (plan.iteration + 1.0))
        mean, square = (
            mean + pace * (eta.mean(axis=0) - mean),
            square + pace * (jnp.einsum("cin,cjn->ijn", eta, eta) / len(eta) - square),
        )
        return Walk(psi, eta, moments, mean, square), (accepted, psi, complete, slope)

    def maximise(moments: Moments, psi: jax.Array, eta: jax.Array, plan: Plan):
        by, slope = jnp.zeros_like(moments.first), jnp.zeros_like(psi)
        if roles.centre:
            psi, moments, by, found = recentre(problem, roles.centre, psi, moments, shift)
            slope = slope.at[np.array(roles.centre)].set(found)
        if roles.spread:
            slowest = jnp.where(plan.annealed, _COOLING, jnp.inf)
            psi, found = respread(problem, roles.spread, psi, moments, slowest, start)
            slope = slope.at[np.array(roles.spread)].set(found)
        if roles.rest:
            most = jnp.where(plan.annealed, _CREEPING, jnp.inf)
            psi, moments, found = descend(problem, roles, psi, moments, eta + by, plan.gain, most)
            slope = slope.at[np.array(roles.rest)].set(found)
        return psi, moments, by, slope

    walk, (accepted, path, complete, slope) = jax.lax.scan(iterate, walk, plan)
    return walk, accepted.mean(axis=0), path, complete, slope[-1]


def recentred(square: jax.Array, mean: jax.Array, by: jax.Array) -> jax.Array:
    """E ηη' (q, q, N) once every η has moved by `by` (q, N)."""
    cross = jnp.einsum("in,jn->ijn", mean, by)
    return square + cross + jnp.swapaxes(cross, 0, 1) + jnp.einsum("in,jn->ijn", by, by)
