"""Linear segments exactly, by powers of one real resolvent (series.py) on the sparse elimination (eliminate.py).

A window of sample times that follow one event shares a factorisation and some 30 real solves; the next window starts
from the state at that event, so errors do not add up over samples. What every compartment loses alike, physical decay
above all, is a scalar factor exp(−σt) and is taken out first: the series then resolves the kinetics alone, and amounts
keep their relative accuracy through any number of half-lives.

The error is estimated for every patient and window from the last terms of the series, plus rounding. Beyond `rtol` the
patient's result says INACCURATE, and callers solve it again by the contour (`stricter`); where nobody can look, in a
fit (`forward_mode`), the contour is part of the program and runs only when some patient needs it.

The engine (pbpk.compile.engine) is a compiled kernel with derivatives of its own, or the same in JAX, which is below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pbpk.compile.engine import kernels
from pbpk.compile.programs.solution.likelihood import LikelihoodTerms, unsupported_likelihood
from pbpk.linalg.packing import linear_part, packing, produces
from pbpk.linalg.series import (
    Series,
    coefficients,
    design,
    double_integral_coefficients,
    integral_coefficients,
    vectors,
)
from pbpk.results import ResultCode
from pbpk.solve import compiled_window as machine
from pbpk.solve.base import Readings, Solver, Trajectory, as_code, build_linear_trajectory
from pbpk.solve.compiled_likelihood import LikelihoodData, LikelihoodResult, judge_in_one_call, judge_in_one_call_forward
from pbpk.solve.compiled_solution import in_one_call, in_one_call_forward
from pbpk.solve.contour import Contour, find_longest_cycle
from pbpk.solve.interval import CrossedInterval
from pbpk.solve.segment_program import LinearSegments
from pbpk.solve.segments import Whole, run_segments
from pbpk.solve.stop_derivatives import move_in_time

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline

_SERIES_MARGIN = 1e-4  # of rtol, for the series on the axis itself: bodies are not normal, and amplify what it neglects
_MAX_KEPT_WINDOWS = 16  # windows whose vectors the reverse rule keeps; with more it computes them again, and memory stays bounded
_UNROLLED_WINDOWS = 2  # windows of compiled code to one turn of the scan: a dose and its samples are often no more
_LONG_CHAIN = 6  # one-way chains and cycles from here on may need the contour


@dataclass(frozen=True)
class Resolvent:
    """Exact for linear systems in which every flux is driven by its own source's amount.

    `rtol` is relative to the amount present (largest at the window's start plus what flows in).
    """

    name: str = "resolvent"
    rtol: float = 1e-9
    reverse: bool = True

    def unsupported_reason(self, system: System) -> str:
        return Contour().unsupported_reason(system)

    def forward_mode(self) -> Resolvent:
        return replace(self, reverse=False)

    def fallback(self) -> Solver:
        return Contour()

    def solve(
        self, system: System, timeline: Timeline, p: jax.Array, *, integrals: bool = False, readings: Readings = ()
    ) -> Trajectory:
        one = in_one_call if self.reverse else in_one_call_forward
        found = self._run(system, timeline, p, integrals, readings, lambda work: partial(one, work, readings))
        if self.reverse or not may_oscillate(system):
            return found
        poor = found.result & ResultCode.INACCURATE != 0
        sure = lax.cond(
            jnp.any(poor),
            lambda: Contour().solve(system, timeline, p, integrals=integrals, readings=readings),
            lambda: found,
        )
        return jax.tree.map(lambda a, b: jnp.where(poor, a, b), sure, found)

    def supports_likelihood(self, system: System, p: jax.Array, judge: LikelihoodTerms) -> bool:
        """Not where the contour may have to take over, which says what amounts are."""
        sure = self.reverse or not may_oscillate(system)
        return sure and p.shape[0] == 1 and kernels(p.dtype) and not unsupported_likelihood(judge)

    def solve_likelihood(self, system: System, timeline: Timeline, p: jax.Array, judge: LikelihoodTerms, facts: LikelihoodData) -> LikelihoodResult:
        one = judge_in_one_call if self.reverse else judge_in_one_call_forward
        found = self._run(system, timeline, p, False, judge.readings, lambda work: partial(one, work, judge, facts))
        return LikelihoodResult(found.amounts, found.result)

    def _run(
        self,
        system: System,
        timeline: Timeline,
        p: jax.Array,
        integrals: bool,
        readings: Readings,
        in_one: Callable[[LinearSegments], Whole],
    ) -> Trajectory:
        packed, production, k = jax.vmap(lambda q: linear_part(system, q))(p)
        makes = produces(system)
        tolerance = max(self.rtol, 50 * float(jnp.finfo(p.dtype).eps))
        span = timeline.windows.span if timeline.windows is not None and p.shape[0] == 1 else 1.0
        few = (len(timeline.time) if timeline.windows is None else len(timeline.windows.closing_event)) <= _MAX_KEPT_WINDOWS
        compiled = kernels(p.dtype)
        window = ResolventWindow(system, design(span, tolerance * _SERIES_MARGIN), integrals, keep=few, compiled=compiled)

        def ready(cross):
            def advance(x, here):
                matrix, b = here.row
                source = None if here.rate is None and not makes else (0.0 if here.rate is None else here.rate) + b
                amounts, integral, error = cross(window, matrix, x, source, here.stops)
                return CrossedInterval(amounts, integral, as_code(jnp.where(error > tolerance, ResultCode.INACCURATE, 0)))

            return advance

        forward = ready(propagate)
        advance = ready(propagate_reversibly) if self.reverse else forward
        # The double integral of an inflow has coefficients of each patient's own for every window: one at a time.
        whole = compiled and not (integrals and (makes or timeline.has_infusions))
        amounts, areas, code = run_segments(
            *(system, timeline, p, (k if compiled else packed, production), advance),
            integrals=integrals,
            readings=readings,
            forward=forward,
            windows=timeline.windows,
            together=_UNROLLED_WINDOWS if compiled and self.reverse else 1,
            whole=in_one(LinearSegments(system, window.series, integrals, tolerance)) if whole else None,
        )
        return build_linear_trajectory(amounts, areas, code, k)


@cache
def may_oscillate(system: System) -> bool:
    """Whether cycles, or long one-way chains, may carry the spectrum (or the pseudospectrum) off the real axis."""
    return find_longest_cycle(system) >= 3 or _find_longest_chain(system) >= _LONG_CHAIN


def _find_longest_chain(system: System) -> int:
    """Compartments on the longest path of one-way arrows, in a model without cycles of one-way arrows."""
    n = len(system.names)
    arrows = {(int(s), int(t)) for s, t in zip(system.source, system.target, strict=True) if n not in (s, t)}
    onward: dict[int, list[int]] = {}
    for s, t in arrows:
        if (t, s) not in arrows:
            onward.setdefault(s, []).append(t)

    @cache
    def length(v: int) -> int:
        return 1 + max((length(t) for t in onward.get(v, ())), default=0)

    return max(map(length, range(n)))


@dataclass(frozen=True)
class ResolventWindow:
    """What is the same for all windows of a solution. `keep`: JAX's reverse rule may keep the vectors of each;
    `compiled`: by the kernel. The kernel takes A as the rates' slopes (entries, N), JAX packed (nonzeros, N)."""

    system: System
    series: Series
    integrals: bool
    keep: bool = False
    compiled: bool = False


class _SeriesTerms(NamedTuple):
    """What one window computes: `vectors` (J + 1, n, 1 or 2, N) and the weights of its sums, each (J + 1, M, N or 1)."""

    vectors: jax.Array
    peak: jax.Array
    amount_weights: jax.Array
    integral_weights: jax.Array | None
    double_integral_weights: jax.Array | None


_PropagatedWindow = tuple[jax.Array, jax.Array | None, jax.Array]


def propagate(window: ResolventWindow, matrix: jax.Array, x: jax.Array, source: jax.Array | None, stops: jax.Array) -> _PropagatedWindow:
    """Amounts (M, n, N) at `stops` (M, N or 1) hours after x (n, N), their integrals from 0 (or None), and the error (N,).

    Under a matrix as the window takes it and a constant source (n, N) or None; the last stop is the latest.
    Differentiable by jvp, three times.
    """
    if window.compiled:
        return machine.propagate_compiled(window, matrix, x, source, stops)
    fixed = lax.stop_gradient(stops)
    after, integral, error = _propagate_series(window, matrix, x, source, fixed)
    return *move_in_time(window.system, matrix, source, stops - fixed, after, integral), error


def propagate_reversibly(window: ResolventWindow, matrix, x, source, stops) -> _PropagatedWindow:
    """The same with a reverse rule by hand, instead of derivatives by jvp."""
    return (machine.propagate_compiled_reversibly if window.compiled else _propagate_series_with_vjp)(window, matrix, x, source, stops)


def _propagate_series(window: ResolventWindow, packed, x, source, stops):
    solve, _, length = _factor_shifted(window, packed, stops)
    return _sum_terms(window, _compute_terms(window, solve, length, packed, x, source, stops), x, source, length, stops)


def _factor_shifted(window: ResolventWindow, packed: jax.Array, stops: jax.Array):
    """(rhs ↦ (I − gA)⁻¹ rhs, its matrix, the window's length), all losses that compartments share left out of A."""
    elimination = packing(window.system).elimination
    length = jnp.where(stops[-1] > 0, stops[-1], 1.0)
    scaled = -(window.series.g * length) * packed
    shared = 1.0 - window.series.g * length * _find_shared_loss(window, packed)
    scaled = elimination.shifted(scaled, shared)[:, None, :]
    return elimination.solver(scaled), scaled, length


def _find_shared_loss(window: ResolventWindow, packed: jax.Array) -> jax.Array:
    """(N,) 1/h. Any shift gives the same result; this one, what every compartment loses at least, leaves a transfer."""
    return lax.stop_gradient(jnp.min(-packed[packing(window.system).elimination.diagonal], axis=0))


def _compute_terms(window: ResolventWindow, solve, length, packed, x, source, stops) -> _SeriesTerms:
    series, shift, tau = window.series, _find_shared_loss(window, packed), stops / length
    plain = coefficients(series, tau)
    fed = lasting = None
    if source is not None or window.integrals:
        fed = length * integral_coefficients(series, tau, shift * length)
    if source is not None and window.integrals:
        lasting = length * double_integral_coefficients(series, tau, shift * length)
    start = x[:, None, :] if source is None else jnp.stack([x, source * length], axis=1)
    bound = lax.stop_gradient(jnp.max(jnp.abs(plain), axis=(1, 2)))
    v, peak = vectors(series, solve, start, bound)
    return _SeriesTerms(v, peak, plain * jnp.exp(-shift * stops), fed, lasting)


def _sum_terms(window: ResolventWindow, work: _SeriesTerms, x, source, length, stops):
    after, integral = _sum_weighted(work.amount_weights, work.vectors[:, :, 0]), None
    if source is not None:
        assert work.integral_weights is not None
        after = after + _sum_weighted(work.integral_weights / length, work.vectors[:, :, 1])
    if window.integrals:
        assert work.integral_weights is not None
        integral = _sum_weighted(work.integral_weights, work.vectors[:, :, 0])
        if work.double_integral_weights is not None:
            integral = integral + _sum_weighted(work.double_integral_weights, work.vectors[:, :, 1])
    # No time changes nothing, not even the last digit: what is 0 at a dose must be 0, for error models that divide by it.
    moved = stops[:, None, :] > 0
    after = jnp.where(moved, after, x)
    integral = None if integral is None else jnp.where(moved, integral, 0.0)
    return after, integral, _estimate_error(window, work, x, source, length)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _propagate_series_with_vjp(window: ResolventWindow, packed, x, source, stops):
    return _propagate_series(window, packed, x, source, stops)


def _propagate_series_recording(window: ResolventWindow, packed, x, source, stops):
    solve, _, length = _factor_shifted(window, packed, stops)
    work = _compute_terms(window, solve, length, packed, x, source, stops)
    return _sum_terms(window, work, x, source, length, stops), (packed, x, source, stops, work if window.keep else None)


def _propagate_series_adjoint(window: ResolventWindow, kept, cotangents):
    """The recursion of `vectors` backwards, with transposed solves on the same factors."""
    packed, x, source, stops, work = kept
    of_after, of_integral, _ = cotangents
    elimination = packing(window.system).elimination
    solve, scaled, length = _factor_shifted(window, packed, stops)
    if work is None:
        work = _compute_terms(window, solve, length, packed, x, source, stops)
    after, _, _ = _sum_terms(window, work, x, source, length, stops)
    v = work.vectors

    def gathered(weight, cotangent):
        """Σₘ weight (J + 1, M, N or 1) · cotangent (M, n, N)."""
        if weight.shape[-1] == 1:
            return jnp.tensordot(weight[..., 0], cotangent, 1)
        return jnp.einsum("jmn,min->jin", weight, cotangent)

    pulls = [gathered(work.amount_weights, of_after)]
    if window.integrals:
        pulls[0] = pulls[0] + gathered(work.integral_weights, of_integral)
    if source is not None:
        assert work.integral_weights is not None
        pulls.append(gathered(work.integral_weights / length, of_after))
        if window.integrals:
            pulls[1] = pulls[1] + gathered(work.double_integral_weights, of_integral)
    pull = jnp.stack(pulls, axis=2)
    turn = elimination.transposed_solver(scaled)

    def entries(to: jax.Array, u: jax.Array) -> jax.Array:
        """The packed cotangent of A from one product: (λᵢ − λⱼ)uⱼ off the diagonal, whose place holds column sums."""
        return jnp.sum(elimination.differences(to) * u[elimination.column], axis=1)

    def step(carry, at):
        later, late, bar = carry
        own, before, here, after = at
        to = turn(4.0 * late)
        bar = bar + entries(to, 0.25 * (before + after) + 0.5 * here)
        return (late, own + to - 2.0 * late - later, bar), None

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


_propagate_series_with_vjp.defvjp(_propagate_series_recording, _propagate_series_adjoint)


def _sum_weighted(c: jax.Array, v: jax.Array) -> jax.Array:
    """Σⱼ cⱼ vⱼ, (M, n, N), for coefficients c (J + 1, M, N or 1) and vectors v (J + 1, n, N)."""
    if c.shape[-1] == 1 and v.shape[-1] > 1:
        return jnp.tensordot(c[..., 0], v, axes=(0, 0))
    return jnp.einsum("jmn,jin->min", c, v)


def _estimate_error(window: ResolventWindow, work: _SeriesTerms, x, source, length) -> jax.Array:
    """(N,): the last two terms of every sum, and rounding of the largest, over the amount present.

    Integrals and what an inflow leaves are judged by their own weights: exp(−σt) may hide the error of amounts alone.
    """
    work, x, source, length = lax.stop_gradient((work, x, source, length))
    present = jnp.sum(jnp.abs(x), axis=0)
    if source is not None:
        present = present + jnp.sum(jnp.abs(source), axis=0) * length
    present = jnp.where(present > 0, present, 1.0)
    fed = None if work.integral_weights is None else work.integral_weights / length
    weights = [[work.amount_weights, fed if window.integrals else None]]
    if source is not None:
        weights.append([fed, None if work.double_integral_weights is None else work.double_integral_weights / length])
    rounding = 10 * float(jnp.finfo(x.dtype).eps) * jnp.max(work.peak, axis=0)
    last = jnp.zeros_like(x)
    for k, sums in enumerate(weights):
        largest = [jnp.max(jnp.abs(c[-2:]), axis=1) for c in sums if c is not None]
        bound = jnp.broadcast_to(jnp.stack(jnp.broadcast_arrays(*largest)).max(axis=0), (2, x.shape[-1]))
        last = last + jnp.sum(bound[:, None, :] * jnp.abs(work.vectors[-2:, :, k]), axis=0)
    return (jnp.max(last, axis=0) + rounding) / present


def integrate_to_infinity(system: System, p: jax.Array, x: jax.Array) -> jax.Array:
    """∫₀^∞ of every amount (n, N), amount · h, from amounts x (n, N) on, by one real solve: −A⁻¹x.

    Production is left out: without an end it would have no integral. Parameters p (m, N). A compartment that never
    empties has an infinite integral where anything reaches it. Differentiable in p and x.
    """
    packed, _, _ = linear_part(system, p)
    elimination = packing(system).elimination
    # A loss this small changes no digit of any integral that exists, and makes the others huge instead of NaN.
    never = 1e-150 if p.dtype == jnp.float64 else 1e-25
    integral = elimination.solver(elimination.shifted(-packed, never))(x)
    return jnp.where(integral > np.sqrt(1 / never) * jnp.sum(jnp.abs(x), axis=0), jnp.inf, integral)
