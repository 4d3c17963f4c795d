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

# While annealed, an iteration lowers a log standard deviation and moves the rest by no more than this.
_SLOWEST_LOG_SD, _LONGEST_REST_STEP = 0.05, 0.1
_PROPOSAL_GAIN = 0.02  # with which draws enter the moments that proposals are made of, once many are in
_ADDED_VARIANCE = 1e-3  # of the prior's variance, so that no proposal is a point


class SaemIterate(NamedTuple):
    """The state that an iteration hands to the next: ψ, η (chains, q, N), averaged moments and, for the proposals, running
    means of η (q, N) and of ηη' (q, q, N)."""

    psi: Numbers
    eta: Numbers
    moments: SaemMoments
    mean: Numbers
    square: Numbers


class StretchSchedule(NamedTuple):
    """What to do in each iteration of a stretch (iterations,): its number, its gain, whether ψ moves (`learn`), whether the
    maximisation is slowed down (`annealed`)."""

    iteration: Numbers
    gain: Numbers
    learn: Numbers
    annealed: Numbers

    @classmethod
    def from_position(cls, first: int, turned: int) -> StretchSchedule:
        """The stretch that begins with iteration `first`; `turned` is the first iteration of smoothing, -1 while exploring."""
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
    current: SaemIterate,
    lengths: jax.Array,
    start: jax.Array,
    seed: jax.Array,
    schedule: StretchSchedule,
) -> tuple[SaemIterate, jax.Array, jax.Array, jax.Array, jax.Array]:
    """The state `current` after the scheduled iterations, the part accepted of each kernel's proposals (5, N), the path of ψ,
    that of −2 ln p(y, η), and the last slope of the OFV in ψ, as the draws have it (Fisher's identity)."""
    key = jax.random.key(seed)
    shift = find_shifts(problem, current.psi, jnp.zeros_like(current.mean))[0]
    prior = jnp.diag(jnp.diag(problem.unpack(current.psi)[1]))
    spread = current.square - jnp.einsum("in,jn->ijn", current.mean, current.mean) + _ADDED_VARIANCE * prior[:, :, None]
    tuning = ProposalTuning.from_moments(current.mean, spread, lengths)

    def iterate(before: SaemIterate, step: StretchSchedule):
        n = before.eta.shape[-1]
        eta, loss, accepted = move_chains(
            problem, before.psi, before.eta, tuning._replace(mean=before.mean), key, step.iteration
        )
        complete = jnp.sum(loss) / len(eta) + n * jnp.linalg.slogdet(problem.unpack(before.psi)[1])[1]
        psi, moments, by, slope = maximise(average_moments(before.moments, eta, step.gain), before.psi, eta, step)
        new, old = (psi, moments, by), (before.psi, before.moments, jnp.zeros_like(by))
        psi, moments, by = jax.tree.map(lambda a, b: jnp.where(step.learn, a, b), new, old)
        eta = eta + by
        mean, square = before.mean + by, recentre_square(before.square, before.mean, by)
        pace = jnp.maximum(_PROPOSAL_GAIN, 1 / (step.iteration + 1.0))
        mean, square = (
            mean + pace * (eta.mean(axis=0) - mean),
            square + pace * (jnp.einsum("cin,cjn->ijn", eta, eta) / len(eta) - square),
        )
        return SaemIterate(psi, eta, moments, mean, square), (accepted, psi, complete, slope)

    def maximise(moments: SaemMoments, psi: jax.Array, eta: jax.Array, step: StretchSchedule):
        by, slope = jnp.zeros_like(moments.first), jnp.zeros_like(psi)
        if roles.centre:
            psi, moments, by, part = maximise_centre(problem, roles.centre, psi, moments, shift)
            slope = slope.at[np.array(roles.centre)].set(part)
        if roles.spread:
            slowest = jnp.where(step.annealed, _SLOWEST_LOG_SD, jnp.inf)
            psi, part = maximise_spread(problem, roles.spread, psi, moments, slowest, start)
            slope = slope.at[np.array(roles.spread)].set(part)
        if roles.rest:
            most = jnp.where(step.annealed, _LONGEST_REST_STEP, jnp.inf)
            psi, moments, part = maximise_rest(problem, roles, psi, moments, eta + by, step.gain, most)
            slope = slope.at[np.array(roles.rest)].set(part)
        return psi, moments, by, slope

    current, (accepted, path, complete, slope) = jax.lax.scan(iterate, current, schedule)
    return current, accepted.mean(axis=0), path, complete, slope[-1]


def recentre_square(square: jax.Array, mean: jax.Array, by: jax.Array) -> jax.Array:
    """E ηη' (q, q, N) once every η has moved by `by` (q, N)."""
    cross = jnp.einsum("in,jn->ijn", mean, by)
    return square + cross + jnp.swapaxes(cross, 0, 1) + jnp.einsum("in,jn->ijn", by, by)
