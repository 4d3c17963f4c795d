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

from pbpk.linalg.packing import plan_packing

if TYPE_CHECKING:
    from pbpk.model.system import System


def move_in_time(
    system: System, packed: jax.Array, source, late: jax.Array, after: jax.Array, integral: jax.Array | None
):
    """Amounts (M, n, N) and integrals `late` (M, N or 1) hours after `after` and `integral`. Late is 0 and carries derivatives:
    Taylor's polynomial, to the third. Under packed A (nonzeros, N) and a source (n, N) or None."""
    product, late = jax.vmap(plan_packing(system).elimination.product(packed)), late[:, None, :]
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
    """`f(late, arguments)` where late is 0 and its value there is `value(arguments)`.

    f itself is traced only where late is differentiated, be it in a derivative of a derivative. Not to be transposed, which
    would forget that.
    """
    at_zero = jax.custom_jvp(lambda late, arguments: value(arguments))

    @partial(at_zero.defjvp, symbolic_zeros=True)
    def rule(primals, tangents):
        (late, arguments), (late_moved, arguments_moved) = primals, tangents
        arguments_moved = instantiate_zeros(arguments_moved)
        if not isinstance(late_moved, SymbolicZero):
            return jax.jvp(f, (late, arguments), (late_moved, arguments_moved))

        def slope(late: jax.Array, both: tuple[Any, Any]):
            return jax.jvp(partial(f, late), both[:1], both[1:])

        slope_at_zero = evaluate_at_zero(slope, lambda both: jax.jvp(value, both[:1], both[1:]))
        return slope_at_zero(late, (arguments, arguments_moved))

    return at_zero


def instantiate_zeros(tangents: Any) -> Any:
    """The tangents, with zeros for those, float64, that JAX knows to be none."""

    def fill(a: Any) -> Any:
        return jnp.zeros(a.shape) if isinstance(a, SymbolicZero) else a

    return jax.tree.map(fill, tangents, is_leaf=lambda a: isinstance(a, SymbolicZero))
