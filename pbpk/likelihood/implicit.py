"""Exact gradients of objectives at conditional modes, without differentiating the search for the modes.

Along the path η̂(ψ), ∂O/∂ψ is the direct part less v'·∂²joint/∂η∂ψ with (∂²joint/∂η²) v = ∂O/∂η, by the implicit function
theorem. No finite differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from pbpk.likelihood.subject import SubjectArrays


def value_and_gradient_at_modes(
    objective: Callable, joint: Callable, psi: jax.Array, eta: jax.Array, subjects: SubjectArrays
) -> tuple[jax.Array, jax.Array]:
    """Values (N,) and gradients in ψ (P, N) of `objective(psi, eta, subject)` where η (q, N) minimises `joint`."""

    def one(e, s):
        value, (direct, through) = jax.value_and_grad(objective, argnums=(0, 1))(psi, e, s)
        v = jnp.linalg.solve(jax.hessian(joint, argnums=1)(psi, e, s), through)
        inner = jax.grad(lambda x: v @ jax.grad(joint, argnums=1)(x, e, s))(psi)
        return value, direct - inner

    return jax.vmap(one, in_axes=-1, out_axes=(0, -1))(eta, subjects)
