"""What each coordinate of ψ does to the complete-data likelihood, found from derivatives rather than declared.

centre   moving it is moving η: ∂u/∂ψ = ∂u/∂η · M with an M that η does not change. Typical values and covariate effects
         of parameters that have a random effect (μ-referencing): their part of the M-step is a regression of η on M.
spread   it moves Ω
rest     the others: typical values without a random effect, effects of covariates that change in time, residuals
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_EXACT = 1e-6  # relative error within which a derivative counts as the same


@dataclass(frozen=True)
class CoordinateRoles:
    """The places in ψ of each role; `moving`: some of the rest move predictions."""

    centre: tuple[int, ...]
    spread: tuple[int, ...]
    rest: tuple[int, ...]
    moving: bool


def find_shifts(problem: Problem, psi: jax.Array, eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """M (q, P, N), by which η moves when ψ does and u does not; and what of ∂u/∂ψ that leaves, relative to it (P,).

    Where several η could do it (an occasion's and the patient's), the likeliest shift: that with the least M'Ω⁻¹M.
    """
    q, (_, omega, _) = eta.shape[0], problem.unpack(psi)

    def u_of(p, e):
        return problem.individual_parameters(problem.unpack(p)[0], e)

    def along(direction):
        return jax.jvp(lambda e: u_of(psi, e), (eta,), (jnp.broadcast_to(direction[:, None], eta.shape),))[1]

    by_eta = jnp.moveaxis(jax.vmap(along)(jnp.eye(q)), (0, 2), (2, 0))  # (N, slots, q)
    by_psi = jnp.moveaxis(jax.jacfwd(u_of)(psi, eta), 1, 0)  # (N, slots, P)
    size = jnp.max(jnp.abs(by_eta), axis=2, keepdims=True)
    size = jnp.where(size > 0, size, 1.0)  # slots differ in unit
    root = jnp.linalg.cholesky(omega)
    m = root @ jnp.linalg.pinv(by_eta / size @ root, rtol=1e-10) @ (by_psi / size)
    unexplained = jnp.max(jnp.abs(by_eta @ m - by_psi) / size, axis=(0, 1))
    return jnp.moveaxis(m, 0, 2), unexplained / jnp.maximum(jnp.max(jnp.abs(by_psi) / size, axis=(0, 1)), 1e-300)


@jax.jit
def _probe_roles(problem: Problem, psi: jax.Array, eta: jax.Array):
    """`find_shifts` at several η (draws, q, N), how far ψ moves u, and how far Ω."""
    m, unexplained = jax.vmap(lambda e: find_shifts(problem, psi, e))(eta)
    moved = jax.jacfwd(lambda p: problem.individual_parameters(problem.unpack(p)[0], eta[0]))(psi)
    spread = jax.jacfwd(lambda p: problem.unpack(p)[1])(psi)
    return m, unexplained.max(axis=0), jnp.abs(moved).max(axis=(0, 1)), jnp.abs(spread).max(axis=(0, 1))


def find_roles(problem: Problem) -> CoordinateRoles:
    """The role of each coordinate of ψ, from derivatives at the initial values and a few random η."""
    psi = problem.initial_unconstrained
    omega = np.asarray(problem.unpack(jnp.asarray(psi))[1])
    z = np.random.default_rng(1).standard_normal((3, len(omega), problem.columns))
    m, unexplained, moved, spread = (np.asarray(a) for a in _probe_roles(problem, psi, np.linalg.cholesky(omega) @ z))
    same = np.ptp(m, axis=0).max(axis=(0, 2)) <= _EXACT * np.abs(m).max(axis=(0, 1, 3))
    centred = (moved > 0) & (unexplained < _EXACT) & same
    spreading = spread > 0
    rest = ~(centred | spreading)
    centre, spreads, others = (tuple(np.flatnonzero(w).tolist()) for w in (centred, spreading, rest))
    return CoordinateRoles(centre, spreads, others, bool((moved[rest] > 0).any()))
