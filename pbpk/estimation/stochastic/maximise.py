"""The maximisation of SAEM, from what is averaged over draws: exact where it can be, a Newton step elsewhere.

    centre   a regression of the mean η on M, weighted by Ω⁻¹: one step, exact for typical values and effects that are linear
             on η's scale; after it η is counted from the new centre, so that no prediction has moved
    spread   Ω is the second moment of η, in the form it has (blocks, occasions, held entries): Fisher scoring to the end
    rest     stochastic approximation of Newton's method on the likelihood of the data given η, whatever its form (censored,
             transformed, counts): no moment stands for it, and no limit of quantification is taken for a value

−2 ln of a prior is added to each. Delyon, Lavielle & Moulines 1999 (Ann Stat 27:94); Gu & Kong 1998 (PNAS 95:7270).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.estimation.stochastic.complete_data import linearise_data_around

if TYPE_CHECKING:
    from pbpk.estimation.stochastic.roles import CoordinateRoles
    from pbpk.likelihood.problem import Problem

_SCORING_STEPS = 4  # from where the last iteration left off
_LONGEST_STEP = 0.3  # of a coordinate of the rest, relative to it where it is above 1
_MOST_SHRINKING = 7.0  # a random effect keeps e^−7 of the standard deviation that it starts from


class SaemMoments(NamedTuple):
    """Stochastic approximations: E η (q, N), Σ_i E ηη'/N (q, q), and the Hessian of the rest's likelihood."""

    first: jax.Array
    second: jax.Array
    hessian: jax.Array


def average_moments(moments: SaemMoments, eta: jax.Array, gain: jax.Array) -> SaemMoments:
    """Moments with the draws η (chains, q, N) counted in by `gain`."""
    chains, _, n = eta.shape
    first, second = eta.mean(axis=0), jnp.einsum("cin,cjn->ij", eta, eta) / (chains * n)
    return moments._replace(
        first=moments.first + gain * (first - moments.first), second=moments.second + gain * (second - moments.second)
    )


def maximise_centre(
    problem: Problem, places: tuple[int, ...], psi: jax.Array, moments: SaemMoments, shift: jax.Array
) -> tuple[jax.Array, SaemMoments, jax.Array, jax.Array]:
    """The regression of η on the shifts M (`shift`, (q, P, N)): ψ, the moments around its new centre, by how much every η moves
    (q, N), and the OFV's slope before. `places` are the coordinates of ψ that do it."""
    at = np.array(places, int)
    m, n = shift[:, at], shift.shape[-1]
    precision = jnp.linalg.inv(problem.unpack(psi)[1])
    weighted = jnp.einsum("ij,jpn->ipn", precision, m)
    information = 2 * jnp.einsum("ipn,irn->pr", weighted, m) + _prior_curvature(problem, psi, at)
    slope = 2 * jnp.einsum("ipn,in->p", weighted, moments.first) - jax.grad(problem.penalty)(psi)[at]
    step = _solve_with_ridge(information, slope)
    by = -jnp.einsum("ipn,p->in", m, step)
    cross = jnp.einsum("in,jn->ij", moments.first, by) / n
    second = moments.second + cross + cross.T + jnp.einsum("in,jn->ij", by, by) / n
    return (
        psi.at[at].add(step),
        moments._replace(first=moments.first + by, second=second),
        by,
        -slope,
    )


def maximise_spread(
    problem: Problem,
    places: tuple[int, ...],
    psi: jax.Array,
    moments: SaemMoments,
    slowest: jax.Array,
    start: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """ψ with Ω fitted to the second moment, and the slope before. Standard deviations fall by no more than e^−slowest."""
    at, n = np.array(places, int), moments.first.shape[1]
    before, falls = psi, np.isin(at, problem.structure.layout.log_sd_positions)
    floor = jnp.maximum(start[at] - _MOST_SHRINKING, before[at] - slowest)

    def omega_of(p):
        return problem.unpack(p)[1]

    def scoring(psi, _):
        precision, slopes = jnp.linalg.inv(omega_of(psi)), jax.jacfwd(omega_of)(psi)[:, :, at]
        each = jnp.einsum("ij,jkp->ikp", precision, slopes)
        off = jnp.eye(len(precision)) - precision @ moments.second
        slope = n * jnp.einsum("ij,jip->p", off, each) + jax.grad(problem.penalty)(psi)[at]
        information = n * jnp.einsum("ijp,jir->pr", each, each) + _prior_curvature(problem, psi, at)
        new = psi[at] - jnp.clip(_solve_with_ridge(information, slope), -1.0, 1.0)
        return psi.at[at].set(jnp.where(falls, jnp.maximum(new, floor), new)), slope

    psi, slopes = jax.lax.scan(scoring, psi, None, length=_SCORING_STEPS)
    return psi, slopes[0]


def maximise_rest(
    problem: Problem,
    roles: CoordinateRoles,
    psi: jax.Array,
    moments: SaemMoments,
    eta: jax.Array,
    gain: jax.Array,
    farthest: jax.Array,
) -> tuple[jax.Array, SaemMoments, jax.Array]:
    """ψ after a step of the rest, the averaged Hessian, and the slope before."""
    at = np.array(roles.rest, int)
    mean = linearise_data_around(problem, psi, eta, roles.moving)

    def objective(x):
        p = psi.at[at].set(x)
        return mean(p) + problem.penalty(p)

    slope, hessian = jax.grad(objective)(psi[at]), jax.hessian(objective)(psi[at])
    hessian = moments.hessian + gain * (hessian - moments.hessian)
    most = jnp.minimum(farthest, _LONGEST_STEP) * jnp.maximum(1.0, jnp.abs(psi[at]))
    step = jnp.clip(-gain * _solve_with_ridge(_make_positive(hessian), slope), -most, most)
    step = jnp.where(jnp.isfinite(step), step, 0.0)
    return psi.at[at].add(step), moments._replace(hessian=hessian), slope


def _prior_curvature(problem: Problem, psi: jax.Array, at: np.ndarray) -> jax.Array:
    """What priors add to the information; the curvature of one that is not concave is taken as positive."""
    if not problem.structure.priors:
        return jnp.zeros((len(at), len(at)))
    return _make_positive(jax.hessian(problem.penalty)(psi)[np.ix_(at, at)])


def _make_positive(matrix: jax.Array) -> jax.Array:
    """The symmetric matrix with the absolute values of its eigenvalues, in the scale of its diagonal: a descent direction
    follows from it whatever the curvature."""
    scale = jnp.sqrt(jnp.maximum(jnp.abs(jnp.diag(matrix)), 1e-12))
    values, vectors = jnp.linalg.eigh(matrix / jnp.outer(scale, scale))
    values = jnp.maximum(jnp.abs(values), 1e-6)
    return (vectors * values) @ vectors.T * jnp.outer(scale, scale)


def _solve_with_ridge(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """The solution of a symmetric system, with a ridge of the size of rounding in the scale of its diagonal."""
    scale = jnp.sqrt(jnp.maximum(jnp.diag(matrix), 1e-300))
    inner = matrix / jnp.outer(scale, scale) + 1e-10 * jnp.eye(len(scale))
    return jnp.linalg.solve(inner, right / scale) / scale
