"""Is a law linear in the state? Read from JAX, then confirmed with numbers.

The tangent of a linear law does not depend on the state: trace the tangent and follow its inputs through the jaxpr.
That alone calls `sign(x)` and `k·(x > 1)` linear, since their tangent is zero, so a few random states confirm it.
"Linear" includes a constant term (production), which the resolvent carries as an infusion.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Var

if TYPE_CHECKING:
    from pbpk.model.declare import Flux


def is_linear(flux: Flux) -> bool:
    """Whether the rate of a flux is linear (affine) in the amounts: read from the law's tangent, and confirmed numerically."""
    names = tuple(name for name, _ in flux.bindings)
    states = tuple(name for name, binding in flux.bindings if not isinstance(binding, str))
    return _law_is_linear(flux.law, names, states)


@cache
def _law_is_linear(law: Callable, names: tuple[str, ...], states: tuple[str, ...]) -> bool:
    fixed = {name: 1.5 for name in names if name not in states}

    def rate(x):
        return jnp.asarray(law(**fixed, **{name: x[i] for i, name in enumerate(states)}), float)

    def tangent(x, dx):
        return jax.jvp(rate, (x,), (dx,))[1]

    if not states:
        return True
    x = jnp.ones(len(states))
    return not _depends_on_first(tangent, x, x) and _is_affine_numerically(rate, len(states))


def _depends_on_first(function: Callable, *args) -> bool:
    """Whether any output still depends on the first argument; nested calls count as depending on all they take."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    reached = {jaxpr.invars[0]}
    for equation in jaxpr.eqns:
        if any(isinstance(v, Var) and v in reached for v in equation.invars):
            reached |= set(equation.outvars)
    return any(isinstance(v, Var) and v in reached for v in jaxpr.outvars)


def _is_affine_numerically(rate: Callable, n: int, tries: int = 8) -> bool:
    rng = np.random.default_rng(0)
    base = rate(jnp.zeros(n))
    slope = jax.jacfwd(rate)(jnp.ones(n))
    for scale in np.logspace(-3, 3, tries):
        x = jnp.asarray(scale * rng.uniform(0.1, 2.0, n))
        expected = base + slope @ x
        if not bool(jnp.allclose(rate(x), expected, rtol=1e-9, atol=1e-12 * scale)):
            return False
    return True
