"""A window of the linear resolvent in JAX, the portable engine's: by powers of one real resolvent (pbpk.linalg.series).

pbpk.compile.programs.linear has the same algorithm on operands, for machine code (compiled_series_window.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pbpk.linalg.packing import plan_packing
from pbpk.linalg.series import double_integral_coefficients, integral_coefficients, series_coefficients, series_vectors
from pbpk.solve.stop_derivatives import move_in_time

if TYPE_CHECKING:
    from pbpk.linalg.series import ResolventSeries
    from pbpk.model.system import System


@dataclass(frozen=True)
class ResolventWindow:
    """What is the same for all windows of a linear solution: the system, the series in powers of its resolvent, and whether
    integrals are wanted. `keep`: the reverse rule below may keep the vectors of each window; `compiled`: the kernel computes
    them. The kernel takes A as the rates' slopes (entries, N), JAX packed (nonzeros, N)."""

    system: System
    series: ResolventSeries
    integrals: bool
    keep: bool = False
    compiled: bool = False


PropagatedWindow = tuple[jax.Array, jax.Array | None, jax.Array]
"""Amounts (M, n, N) at the stops, their integrals from the window's start or None, and the estimated error (N,)."""


def propagate_series(window: ResolventWindow, packed: jax.Array, x: jax.Array, source, stops) -> PropagatedWindow:
    """The results under packed A (nonzeros, N) and a constant source (n, N) or None, differentiable by jvp, three times.

    Derivatives in the stops are the field's own (stop_derivatives.py).
    """
    fixed = lax.stop_gradient(stops)
    after, integral, error = _propagate_series(window, packed, x, source, fixed)
    return *move_in_time(window.system, packed, source, stops - fixed, after, integral), error


class _SeriesTerms(NamedTuple):
    """What one window computes: `vectors` (J + 1, n, 1 or 2, N) of the start and of the source, the `peak` of their sizes, and
    the weights of each sum, (J + 1, M, N or 1)."""

    vectors: jax.Array
    peak: jax.Array
    amount_weights: jax.Array
    integral_weights: jax.Array | None
    double_integral_weights: jax.Array | None


def _propagate_series(window: ResolventWindow, packed, x, source, stops) -> PropagatedWindow:
    solve, _, length = _factor_shifted(window, packed, stops)
    return _sum_terms(window, _compute_terms(window, solve, length, packed, x, source, stops), x, source, length, stops)


def _factor_shifted(window: ResolventWindow, packed: jax.Array, stops: jax.Array):
    """(rhs ↦ (I − gA)⁻¹ rhs, its matrix, the window's length), all losses that compartments share left out of A."""
    elimination = plan_packing(window.system).elimination
    length = jnp.where(stops[-1] > 0, stops[-1], 1.0)
    scaled = -(window.series.g * length) * packed
    shared = 1.0 - window.series.g * length * _find_shared_loss(window, packed)
    scaled = elimination.shifted(scaled, shared)[:, None, :]
    return elimination.solver(scaled), scaled, length


def _find_shared_loss(window: ResolventWindow, packed: jax.Array) -> jax.Array:
    """(N,) 1/h. Any shift gives the same result; this one, what every compartment loses at least, leaves a transfer."""
    return lax.stop_gradient(jnp.min(-packed[plan_packing(window.system).elimination.diagonal], axis=0))


def _compute_terms(window: ResolventWindow, solve, length, packed, x, source, stops) -> _SeriesTerms:
    """The vectors T_j(W) of the start and of the source, and the weights with which each stop sums them."""
    series, shift, tau = window.series, _find_shared_loss(window, packed), stops / length
    plain = series_coefficients(series, tau)
    integrated = twice_integrated = None
    if source is not None or window.integrals:
        integrated = length * integral_coefficients(series, tau, shift * length)
    if source is not None and window.integrals:
        twice_integrated = length * double_integral_coefficients(series, tau, shift * length)
    start = x[:, None, :] if source is None else jnp.stack([x, source * length], axis=1)
    bound = lax.stop_gradient(jnp.max(jnp.abs(plain), axis=(1, 2)))
    v, peak = series_vectors(series, solve, start, bound)
    return _SeriesTerms(v, peak, plain * jnp.exp(-shift * stops), integrated, twice_integrated)


def _sum_terms(window: ResolventWindow, terms: _SeriesTerms, x, source, length, stops) -> PropagatedWindow:
    """The results from what a window computes."""
    after, integral = _sum_weighted(terms.amount_weights, terms.vectors[:, :, 0]), None
    if source is not None:
        assert terms.integral_weights is not None
        after = after + _sum_weighted(terms.integral_weights / length, terms.vectors[:, :, 1])
    if window.integrals:
        assert terms.integral_weights is not None
        integral = _sum_weighted(terms.integral_weights, terms.vectors[:, :, 0])
        if terms.double_integral_weights is not None:
            integral = integral + _sum_weighted(terms.double_integral_weights, terms.vectors[:, :, 1])
    # A stop of no length changes nothing, not even the last digit: what is 0 at a dose must be 0, for error models that
    # divide by it.
    later = stops[:, None, :] > 0
    after = jnp.where(later, after, x)
    integral = None if integral is None else jnp.where(later, integral, 0.0)
    return after, integral, _estimate_error(window, terms, x, source, length)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def propagate_series_reversibly(window: ResolventWindow, packed, x, source, stops) -> PropagatedWindow:
    """The same with a reverse rule by hand, instead of derivatives by jvp."""
    return _propagate_series(window, packed, x, source, stops)


def _propagate_series_recording(window: ResolventWindow, packed, x, source, stops):
    solve, _, length = _factor_shifted(window, packed, stops)
    terms = _compute_terms(window, solve, length, packed, x, source, stops)
    return _sum_terms(window, terms, x, source, length, stops), (
        packed,
        x,
        source,
        stops,
        terms if window.keep else None,
    )


def _propagate_series_adjoint(window: ResolventWindow, kept, cotangents):
    """The recursion of `vectors` backwards, with transposed solves on the same factors."""
    packed, x, source, stops, terms = kept
    of_after, of_integral, _ = cotangents
    elimination = plan_packing(window.system).elimination
    solve, scaled, length = _factor_shifted(window, packed, stops)
    if terms is None:
        terms = _compute_terms(window, solve, length, packed, x, source, stops)
    after, _, _ = _sum_terms(window, terms, x, source, length, stops)
    v = terms.vectors

    def gather(weight, cotangent):
        """Σₘ weight (J + 1, M, N or 1) · cotangent (M, n, N)."""
        if weight.shape[-1] == 1:
            return jnp.tensordot(weight[..., 0], cotangent, 1)
        return jnp.einsum("jmn,min->jin", weight, cotangent)

    pulls = [gather(terms.amount_weights, of_after)]
    if window.integrals:
        pulls[0] = pulls[0] + gather(terms.integral_weights, of_integral)
    if source is not None:
        assert terms.integral_weights is not None
        pulls.append(gather(terms.integral_weights / length, of_after))
        if window.integrals:
            pulls[1] = pulls[1] + gather(terms.double_integral_weights, of_integral)
    pull = jnp.stack(pulls, axis=2)
    turn = elimination.transposed_solver(scaled)

    def entries(to: jax.Array, u: jax.Array) -> jax.Array:
        """The packed cotangent of A from one product: (λᵢ − λⱼ)uⱼ off the diagonal, whose place holds column sums."""
        return jnp.sum(elimination.differences(to) * u[elimination.column], axis=1)

    def step(carry, term):
        later, late, bar = carry
        of_term, before, vector, after = term
        to = turn(4.0 * late)
        bar = bar + entries(to, 0.25 * (before + after) + 0.5 * vector)
        return (late, of_term + to - 2.0 * late - later, bar), None

    first = (jnp.zeros_like(pull[0]), pull[-1], jnp.zeros((len(elimination.column), x.shape[-1]), x.dtype))
    through = (pull[1:-1], v[:-2], v[1:-1], v[2:])
    (later, late, bar), _ = lax.scan(step, first, through, reverse=True)
    to = turn(2.0 * late)
    bar = bar + entries(to, 0.5 * (v[0] + v[1]))
    start = pull[0] + to - late - later

    slope = jax.vmap(elimination.product(packed))(after)
    if source is not None:
        slope = slope + source
    of_stops = jnp.sum(of_after * slope, axis=1)
    if window.integrals:
        of_stops = of_stops + jnp.sum(of_integral * after, axis=1)
    of_stops = of_stops if stops.shape[-1] > 1 else jnp.sum(of_stops, axis=-1, keepdims=True)
    of_source = None if source is None else length * start[:, 1]
    return window.series.g * length * bar, start[:, 0], of_source, of_stops


propagate_series_reversibly.defvjp(_propagate_series_recording, _propagate_series_adjoint)


def _sum_weighted(c: jax.Array, v: jax.Array) -> jax.Array:
    """Σⱼ cⱼ vⱼ, (M, n, N), for coefficients c (J + 1, M, N or 1) and vectors v (J + 1, n, N)."""
    if c.shape[-1] == 1 and v.shape[-1] > 1:
        return jnp.tensordot(c[..., 0], v, axes=(0, 0))
    return jnp.einsum("jmn,jin->min", c, v)


def _estimate_error(window: ResolventWindow, terms: _SeriesTerms, x, source, length) -> jax.Array:
    """(N,): the last two terms of every sum, and rounding of the largest, over the amount present.

    Integrals and what an inflow leaves are bounded by their own weights: exp(−σt) may hide the error of amounts alone.
    """
    terms, x, source, length = lax.stop_gradient((terms, x, source, length))
    present = jnp.sum(jnp.abs(x), axis=0)
    if source is not None:
        present = present + jnp.sum(jnp.abs(source), axis=0) * length
    present = jnp.where(present > 0, present, 1.0)
    of_source = None if terms.integral_weights is None else terms.integral_weights / length
    weights = [[terms.amount_weights, of_source if window.integrals else None]]
    if source is not None:
        weights.append(
            [of_source, None if terms.double_integral_weights is None else terms.double_integral_weights / length]
        )
    rounding = 10 * float(jnp.finfo(x.dtype).eps) * jnp.max(terms.peak, axis=0)
    last = jnp.zeros_like(x)
    for k, sums in enumerate(weights):
        largest = [jnp.max(jnp.abs(c[-2:]), axis=1) for c in sums if c is not None]
        bound = jnp.broadcast_to(jnp.stack(jnp.broadcast_arrays(*largest)).max(axis=0), (2, x.shape[-1]))
        last = last + jnp.sum(bound[:, None, :] * jnp.abs(terms.vectors[-2:, :, k]), axis=0)
    return (jnp.max(last, axis=0) + rounding) / present
