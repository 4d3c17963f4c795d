"""A window of the linear resolvent by machine code for the model, with derivatives in the stops as well.

The kernel brings its own derivatives (pbpk.compile.programs.linear.kernel), in all but the stops; those are
stop_derivatives.py's, traced only where stops are differentiated. Backwards, both go together in one rule, so that
derivatives of it are right in the stops too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from pbpk.compile.programs.linear.kernel import LinearKernel
from pbpk.compile.xla.opaque import opaque
from pbpk.linalg.packing import plan_packing
from pbpk.solve.stop_derivatives import evaluate_at_zero, move_in_time

if TYPE_CHECKING:
    from pbpk.solve.series_window import ResolventWindow


def propagate_compiled(
    window: ResolventWindow, rates: jax.Array, x: jax.Array, source: jax.Array | None, stops: jax.Array
):
    """Amounts (M, n, N), integrals or None, error (N,), from rates (entries, N or 1) and stops (M, N or 1). For jvp."""
    return _propagate_with_stops(window, *_widen_to_patients(rates, x, source), stops)[0]


def propagate_compiled_reversibly(
    window: ResolventWindow, rates: jax.Array, x: jax.Array, source: jax.Array | None, stops: jax.Array
):
    """The same, for vjp and for jvp of that."""
    return _propagate_with_vjp(window, *_widen_to_patients(rates, x, source), stops)


def _widen_to_patients(rates, x, source):
    """Where one column serves all patients, a column for each of them."""

    def widen(a: jax.Array) -> jax.Array:
        return jnp.broadcast_to(a, (len(a), x.shape[-1]))

    return widen(rates), x, None if source is None else widen(source)


def _squeeze_shared(stops: jax.Array) -> jax.Array:
    """The stops as the kernel takes them: (M,) where all patients share them."""
    return stops[:, 0] if stops.shape[-1] == 1 else stops


def _propagate_with_stops(window: ResolventWindow, rates, x, source, stops):
    """The results, and the same numbers without derivatives in the stops."""
    kernel = LinearKernel(window.system, window.series, window.integrals)
    fixed = lax.stop_gradient(stops)
    after, integral, error = kernel(rates, x, _squeeze_shared(fixed), source)

    def move(late: jax.Array, arguments: Any):
        rates, source, *at_stops = arguments
        return move_in_time(window.system, plan_packing(window.system).pack(rates), source, late, *at_stops)

    at_moving_stops = evaluate_at_zero(move, lambda arguments: arguments[2:])
    moved = at_moving_stops(stops - fixed, (rates, source, after, integral))
    return (*moved, error), (after, integral)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _propagate_with_vjp(window: ResolventWindow, rates, x, source, stops):
    return _propagate_with_stops(window, rates, x, source, stops)[0]


def _propagate_recording(window: ResolventWindow, rates, x, source, stops):
    results, fixed_results = opaque(partial(_propagate_with_stops, window))(rates, x, source, stops)
    return results, (rates, x, source, stops, fixed_results)


def _propagate_adjoint(window: ResolventWindow, kept, cotangents):
    """The kernel's adjoint, and the cotangents of stops, in one rule."""
    rates, x, source, stops, fixed_results = kept
    kernel = LinearKernel(window.system, window.series, window.integrals)

    def pull_at(late: jax.Array, arguments: Any):
        """The cotangents where the stops are `late` hours, which are 0 and carry derivatives."""
        rates, x, source, fixed, fixed_results, bars = arguments

        def move(late, rates, source, after, integral):
            return move_in_time(window.system, plan_packing(window.system).pack(rates), source, late, after, integral)

        _, pull_move = jax.vjp(move, late, rates, source, *fixed_results)
        of_late, *direct, of_after, of_integral = pull_move(bars)
        of_rates, of_x, of_source = kernel.pull(rates, x, _squeeze_shared(fixed), source, of_after, of_integral)
        of_source = None if source is None else of_source + direct[1]
        return of_rates + direct[0], of_x, of_source, of_late

    def pull_at_zero(arguments: Any):
        """The same numbers at 0 hours: the cotangents of stops are products with the field."""
        rates, x, source, fixed, (after, _), (of_after, of_integral) = arguments
        slope = jax.vmap(plan_packing(window.system).elimination.product(plan_packing(window.system).pack(rates)))(
            after
        )
        of_late = jnp.sum(of_after * (slope if source is None else slope + source), axis=1)
        of_late = of_late if of_integral is None else of_late + jnp.sum(of_integral * after, axis=1)
        of_late = of_late if fixed.shape[-1] > 1 else jnp.sum(of_late, axis=-1, keepdims=True)
        return *kernel.pull(rates, x, _squeeze_shared(fixed), source, of_after, of_integral), of_late

    def pull(rates, x, source, stops, fixed_results, bars):
        fixed = lax.stop_gradient(stops)
        arguments = (rates, x, source, fixed, fixed_results, bars)
        return evaluate_at_zero(pull_at, pull_at_zero)(stops - fixed, arguments)

    return opaque(pull)(rates, x, source, stops, fixed_results, cotangents[:2])


_propagate_with_vjp.defvjp(_propagate_recording, _propagate_adjoint)
