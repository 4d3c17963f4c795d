"""Iterations of SAEM, a stretch of them compiled as one program: draw, average, maximise."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.stochastic import phases
from pbpk.estimation.stochastic.chains import ProposalTuning, move_chains
from pbpk.estimation.stochastic.maximise import (
    SaemMoments,
    average_moments,
    maximise_centre,
    maximise_rest,
    maximise_spread,
)
from pbpk.estimation.stochastic.roles import CoordinateRoles, find_shifts

if TYPE_CHECKING:
    from pbpk.likelihood.endpoints.base import Numbers
    from pbpk.likelihood.problem import Problem

_SLOWEST_LOG_SD, _LONGEST_REST_STEP = (
    0.05,
    0.1,
)  # while annealed: most that a log standard deviation falls, that the rest moves
_PROPOSAL_GAIN = 0.02  # of the moments that proposals are made of, once many draws are in
_ADDED_VARIANCE = 1e-3  # of the prior's variance, so that no proposal is a point


class SaemIterate(NamedTuple):
    """What an iteration hands to the next: ψ, η (chains, q, N), averaged moments and, for the proposals, running means of η
    (q, N) and of ηη' (q, q, N)."""

    psi: Numbers
    eta: Numbers
    moments: SaemMoments
    mean: Numbers
    square: Numbers


class StretchSchedule(NamedTuple):
    """For each iteration of a stretch: its number, its gain, whether ψ moves, whether it is annealed."""

    iteration: Numbers
    gain: Numbers
    learn: Numbers
    annealed: Numbers

    @classmethod
    def from_position(cls, first: int, turned: int) -> StretchSchedule:
        number = np.arange(first, first + phases.STRETCH)
        return cls(
            number,
            phases.compute_gains(number, turned),
            number >= phases.WARM_UP,
            number < phases.WARM_UP + phases.ANNEALED,
        )


@partial(jax.jit, static_argnames="roles")
def run_stretch(
    problem: Problem,
    roles: CoordinateRoles,
    iterate_state: SaemIterate,
    lengths: jax.Array,
    start: jax.Array,
    seed: jax.Array,
    schedule: StretchSchedule,
) -> tuple[SaemIterate, jax.Array, jax.Array, jax.Array, jax.Array]:
    """The walk after the planned iterations, the part accepted of each kernel's proposals (5, N), the path of ψ, that of
    −2 ln p(y, η), and the last slope of the OFV in ψ, as the draws have it (Fisher's identity)."""
    key = jax.random.key(seed)
    shift = find_shifts(problem, iterate_state.psi, jnp.zeros_like(iterate_state.mean))[0]
    prior = jnp.diag(jnp.diag(problem.unpack(iterate_state.psi)[1]))
    spread = (
        iterate_state.square
        - jnp.einsum("in,jn->ijn", iterate_state.mean, iterate_state.mean)
        + _ADDED_VARIANCE * prior[:, :, None]
    )
    tuning = ProposalTuning.from_moments(iterate_state.mean, spread, lengths)

    def iterate(walk: SaemIterate, plan: StretchSchedule):
        n = walk.eta.shape[-1]
        eta, loss, accepted = move_chains(
            problem, walk.psi, walk.eta, tuning._replace(mean=walk.mean), key, plan.iteration
        )
        complete = jnp.sum(loss) / len(eta) + n * jnp.linalg.slogdet(problem.unpack(walk.psi)[1])[1]
        psi, moments, by, slope = maximise(average_moments(walk.moments, eta, plan.gain), walk.psi, eta, plan)
        new, old = (psi, moments, by), (walk.psi, walk.moments, jnp.zeros_like(by))
        psi, moments, by = jax.tree.map(lambda a, b: jnp.where(plan.learn, a, b), new, old)
        eta = eta + by
        mean, square = walk.mean + by, recentre_square(walk.square, walk.mean, by)
        pace = jnp.maximum(_PROPOSAL_GAIN, 1 / (plan.iteration + 1.0))
        mean, square = (
            mean + pace * (eta.mean(axis=0) - mean),
            square + pace * (jnp.einsum("cin,cjn->ijn", eta, eta) / len(eta) - square),
        )
        return SaemIterate(psi, eta, moments, mean, square), (accepted, psi, complete, slope)

    def maximise(moments: SaemMoments, psi: jax.Array, eta: jax.Array, plan: StretchSchedule):
        by, slope = jnp.zeros_like(moments.first), jnp.zeros_like(psi)
        if roles.centre:
            psi, moments, by, found = maximise_centre(problem, roles.centre, psi, moments, shift)
            slope = slope.at[np.array(roles.centre)].set(found)
        if roles.spread:
            slowest = jnp.where(plan.annealed, _SLOWEST_LOG_SD, jnp.inf)
            psi, found = maximise_spread(problem, roles.spread, psi, moments, slowest, start)
            slope = slope.at[np.array(roles.spread)].set(found)
        if roles.rest:
            most = jnp.where(plan.annealed, _LONGEST_REST_STEP, jnp.inf)
            psi, moments, found = maximise_rest(problem, roles, psi, moments, eta + by, plan.gain, most)
            slope = slope.at[np.array(roles.rest)].set(found)
        return psi, moments, by, slope

    iterate_state, (accepted, path, complete, slope) = jax.lax.scan(iterate, iterate_state, schedule)
    return iterate_state, accepted.mean(axis=0), path, complete, slope[-1]


def recentre_square(square: jax.Array, mean: jax.Array, by: jax.Array) -> jax.Array:
    """E ηη' (q, q, N) once every η has moved by `by` (q, N)."""
    cross = jnp.einsum("in,jn->ijn", mean, by)
    return square + cross + jnp.swapaxes(cross, 0, 1) + jnp.einsum("in,jn->ijn", by, by)
