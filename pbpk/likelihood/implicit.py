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
    objective: Callable, joint: Callable, unconstrained: jax.Array, eta: jax.Array, subjects: SubjectArrays
) -> tuple[jax.Array, jax.Array]:
    """Values (N,) and gradients in ψ (P, N) of `objective(ψ, η, subject)` where η (q, N) minimises `joint`, of the same
    arguments."""

    def one(e, s):
        value, (direct, by_eta) = jax.value_and_grad(objective, argnums=(0, 1))(unconstrained, e, s)
        v = jnp.linalg.solve(jax.hessian(joint, argnums=1)(unconstrained, e, s), by_eta)
        through_eta = jax.grad(lambda x: v @ jax.grad(joint, argnums=1)(x, e, s))(unconstrained)
        return value, direct - through_eta

    return jax.vmap(one, in_axes=-1, out_axes=(0, -1))(eta, subjects)
