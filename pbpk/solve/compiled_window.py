"""A window of the linear resolvent by machine code for the model, with derivatives in the stops as well.

The kernel brings its own derivatives (pbpk.compile.programs.linear.kernel), in all but the stops; those are stop_derivatives.py's, traced only where
stops are differentiated. Going back, both go together in one rule, so that derivatives of it are right in the stops too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from pbpk.compile.programs.linear.kernel import LinearKernel
from pbpk.compile.xla.opaque import opaque
from pbpk.linalg.packing import packing
from pbpk.solve.stop_derivatives import evaluate_at_zero, move_in_time

if TYPE_CHECKING:
    from pbpk.linalg.series import Series
    from pbpk.model.system import System


class Window(Protocol):
    @property
    def system(self) -> System: ...

    @property
    def series(self) -> Series: ...

    @property
    def integrals(self) -> bool: ...


def propagate_compiled(window: Window, rates: jax.Array, x: jax.Array, source: jax.Array | None, stops: jax.Array):
    """Amounts (M, n, N), integrals or None, error (N,), from rates (entries, N or 1) and stops (M, N or 1). For jvp."""
    return _propagate_with_stops(window, *_widen_to_patients(rates, x, source), stops)[0]


def propagate_compiled_reversibly(window: Window, rates: jax.Array, x: jax.Array, source: jax.Array | None, stops: jax.Array):
    """The same, for vjp and for jvp of that."""
    return _propagate_with_vjp(window, *_widen_to_patients(rates, x, source), stops)


def _widen_to_patients(rates, x, source):
    """Where one column serves all patients, each gets his own."""

    def wide(a: jax.Array) -> jax.Array:
        return jnp.broadcast_to(a, (len(a), x.shape[-1]))

    return wide(rates), x, None if source is None else wide(source)


def _squeeze_shared(stops: jax.Array) -> jax.Array:
    """The stops as the kernel takes them."""
    return stops[:, 0] if stops.shape[-1] == 1 else stops


def _propagate_with_stops(window: Window, rates, x, source, stops):
    """The results, and what they were before derivatives in the stops: the same numbers."""
    kernel = LinearKernel(window.system, window.series, window.integrals)
    fixed = lax.stop_gradient(stops)
    after, integral, error = kernel(rates, x, _squeeze_shared(fixed), source)

    def onward(late: jax.Array, given: Any):
        rates, source, *found = given
        return move_in_time(window.system, packing(window.system).pack(rates), source, late, *found)

    moved = evaluate_at_zero(onward, lambda given: given[2:])(stops - fixed, (rates, source, after, integral))
    return (*moved, error), (after, integral)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _propagate_with_vjp(window: Window, rates, x, source, stops):
    return _propagate_with_stops(window, rates, x, source, stops)[0]


def _propagate_recording(window: Window, rates, x, source, stops):
    found, before = opaque(partial(_propagate_with_stops, window))(rates, x, source, stops)
    return found, (rates, x, source, stops, before)


def _propagate_adjoint(window: Window, kept, cotangents):
    rates, x, source, stops, before = kept
    kernel = LinearKernel(window.system, window.series, window.integrals)

    def onward(late: jax.Array, given: Any):
        rates, x, source, fixed, before, handed = given

        def last(late, rates, source, after, integral):
            return move_in_time(window.system, packing(window.system).pack(rates), source, late, after, integral)

        _, back = jax.vjp(last, late, rates, source, *before)
        of_late, *direct, of_after, of_integral = back(handed)
        of_rates, of_x, of_source = kernel.pull(rates, x, _squeeze_shared(fixed), source, of_after, of_integral)
        of_source = None if source is None else of_source + direct[1]
        return of_rates + direct[0], of_x, of_source, of_late

    def value(given: Any):
        rates, x, source, fixed, (after, _), (of_after, of_integral) = given
        slope = jax.vmap(packing(window.system).elimination.product(packing(window.system).pack(rates)))(after)
        of_late = jnp.sum(of_after * (slope if source is None else slope + source), axis=1)
        of_late = of_late if of_integral is None else of_late + jnp.sum(of_integral * after, axis=1)
        of_late = of_late if fixed.shape[-1] > 1 else jnp.sum(of_late, axis=-1, keepdims=True)
        return *kernel.pull(rates, x, _squeeze_shared(fixed), source, of_after, of_integral), of_late

    def pull(rates, x, source, stops, before, handed):
        fixed = lax.stop_gradient(stops)
        return evaluate_at_zero(onward, value)(stops - fixed, (rates, x, source, fixed, before, handed))

    return opaque(pull)(rates, x, source, stops, before, cotangents[:2])


_propagate_with_vjp.defvjp(_propagate_recording, _propagate_adjoint)
