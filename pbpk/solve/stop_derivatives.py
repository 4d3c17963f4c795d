"""Derivatives of a linear window's results in its stops: the field's own.

Those of a series' coefficients would not exist where a stop has no length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from pbpk.linalg.packing import packing

if TYPE_CHECKING:
    from pbpk.model.system import System


def move_in_time(
    system: System, packed: jax.Array, source, late: jax.Array, after: jax.Array, integral: jax.Array | None
):
    """Amounts (M, n, N) and integrals `late` (M, N or 1) hours after what they were, which are 0 hours and carry
    derivatives: Taylor's polynomial, to the third. Under packed A (nonzeros, N) and a source (n, N) or None."""
    product, late = jax.vmap(packing(system).elimination.product(packed)), late[:, None, :]
    first = product(after) if source is None else product(after) + source
    second = product(first)
    third = product(second)
    moved = after + late * (first + late / 2 * (second + late / 3 * third))
    if integral is not None:
        integral = integral + late * (after + late / 2 * (first + late / 3 * second))
    return moved, integral


def evaluate_at_zero(
    f: Callable[[jax.Array, Any], Any], value: Callable[[Any], Any]
) -> Callable[[jax.Array, Any], Any]:
    """`f(late, given)` where late is 0 and its value there is `value(given)`: f itself is traced only where late is
    differentiated, be it in a derivative of a derivative. Not to be transposed, which would forget that."""
    short = jax.custom_jvp(lambda late, given: value(given))

    @partial(short.defjvp, symbolic_zeros=True)
    def rule(at, along):
        (late, given), (moved, along) = at, along
        along = instantiate_zeros(along)
        if not isinstance(moved, SymbolicZero):
            return jax.jvp(f, (late, given), (moved, along))

        def slope(late: jax.Array, both: tuple[Any, Any]):
            return jax.jvp(partial(f, late), both[:1], both[1:])

        return evaluate_at_zero(slope, lambda both: jax.jvp(value, both[:1], both[1:]))(late, (given, along))

    return short


def instantiate_zeros(tangents: Any) -> Any:
    """Zeros for those tangents, float64, that JAX knows to be none."""

    def one(a: Any) -> Any:
        return jnp.zeros(a.shape) if isinstance(a, SymbolicZero) else a

    return jax.tree.map(one, tangents, is_leaf=lambda a: isinstance(a, SymbolicZero))
