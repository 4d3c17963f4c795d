"""The Bateman equations, exact for any half-lives: equal ones, and 10¹⁵ apart.

The numbers N of atoms obey N' = A N with A = (B − I) diag(k), where k (n,), 1/h, are the decay constants, 0 for what is
stable, and B (n, n) has the share of the decays of column j that give row i: below the diagonal alone, parents first.

Bateman's sums cancel for half-lives that are alike and divide by their differences. exp(At) by scaling and squaring does
neither: written as e^(−μh) exp((A + μI)h) with μ the greatest k, all its terms are positive and so are the products of
the squarings, while the diagonal, e^(−kt), is known and put in anew each time. So every entry has an accuracy relative to
itself (after Xue and Ye 2013, Math. Comp. 82:1577, and Al-Mohy and Higham 2009, SIAM J. Matrix Anal. Appl. 31:970), a
212Po of 0.3 µs in equilibrium with its parents too: docs/numerics.md.

Everything is traceable and differentiable in k, B, activities and times.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

_SQUARINGS = 80  # the fastest half-life may be shorter than the time by a factor of 1e24
_TERMS = 18  # of the Taylor series beyond the first that an entry has; 1/19! is the relative remainder


def count_atoms(k: Any, branch: Any, a0: Any, t: Any) -> jax.Array:
    """Atoms of all members at times t ≥ 0 (any shape, h), (..., n), counted in the unit of activity · h (N = A/k).

    `a0` is the activity at t = 0 of the first member, or of all of them (n,).
    """
    return _apply_propagator(_propagator(*_as_arrays(k, branch, t)), k, a0)


def compute_activities(k: Any, branch: Any, a0: Any, t: Any) -> jax.Array:
    """Activities of all members at times t, (..., n), in the unit of `a0`; 0 for what is stable. Arguments as `atoms`."""
    return jnp.asarray(k) * count_atoms(k, branch, a0, t)


def count_decays(k: Any, branch: Any, a0: Any, t: Any) -> jax.Array:
    """Decays of all members from 0 to t: their time-integrated activities, (..., n), in the unit of `a0` · h.

    Each decay is counted by one more member that does not decay, so that here too nothing cancels.
    """
    k, branch, t = _as_arrays(k, branch, t)
    n, none = len(k), jnp.zeros_like(branch)
    counted = jnp.block([[branch, none], [jnp.eye(n), none]])
    propagator = _propagator(jnp.concatenate([k, jnp.zeros(n)]), counted, t)
    return _apply_propagator(propagator[..., n:, :n], k, a0)


def count_all_decays(k: Any, branch: Any, a0: Any) -> jax.Array:
    """Decays of all members from 0 to infinity, (n,); 0 for what is stable."""
    k, branch, _ = _as_arrays(k, branch, 0.0)
    each = jax.scipy.linalg.solve_triangular(jnp.eye(len(k)) - branch, _initial_atoms(k, a0), lower=True)
    return jnp.where(k > 0, each, 0.0)


def _as_arrays(k: Any, branch: Any, t: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    return jnp.asarray(k, float), jnp.asarray(branch, float), jnp.asarray(t, float)


def _initial_atoms(k: jax.Array, a0: Any) -> jax.Array:
    """Atoms at t = 0."""
    a0 = jnp.asarray(a0, float)
    a0 = a0 if a0.ndim else jnp.zeros(len(k)).at[0].set(a0)
    return jnp.where(k > 0, a0 / jnp.where(k > 0, k, 1.0), 0.0)


def _apply_propagator(propagator: jax.Array, k: Any, a0: Any) -> jax.Array:
    return propagator @ _initial_atoms(jnp.asarray(k, float), a0)


@jax.jit
def _propagator(k: jax.Array, branch: jax.Array, t: jax.Array) -> jax.Array:
    """exp(At), (..., n, n): atoms of row i at t of one atom of column j at 0."""
    at_once = jax.vmap(lambda u: _exponential(k, branch * k, u))(t.ravel())
    return at_once.reshape(*t.shape, len(k), len(k))


def _exponential(k: jax.Array, births: jax.Array, t: jax.Array) -> jax.Array:
    n, fastest = len(k), jnp.max(k)
    halvings = jax.lax.stop_gradient(jnp.ceil(jnp.log2(jnp.maximum(fastest * t, 1.0))))
    h = t * jnp.exp2(-halvings)
    eye = jnp.eye(n)

    def with_diagonal(m: jax.Array, span: jax.Array) -> jax.Array:
        return m * (1 - eye) + eye * jnp.exp(-k * span)

    def term(m: jax.Array, order: jax.Array) -> tuple[jax.Array, None]:
        return eye + _matmul(shifted, m) / order, None

    def square(m: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        return jnp.where(i < halvings, with_diagonal(_matmul(m, m), h * jnp.exp2(i + 1)), m), None

    shifted = h * (births + jnp.diag(fastest - k))
    series, _ = jax.lax.scan(term, eye, jnp.arange(n + _TERMS, 0, -1, dtype=float))
    first = with_diagonal(jnp.exp(-fastest * h) * series, h)
    result, _ = jax.lax.scan(square, first, jnp.arange(_SQUARINGS, dtype=float))
    return result


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")
