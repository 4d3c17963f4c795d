"""Linear segments exactly, by powers of one real resolvent (pbpk.linalg.series) on the sparse elimination
(pbpk.linalg.elimination).

A window of sample times that follow one event shares a factorisation and some 30 real solves; the next window starts
from the state at that event, so errors do not add up over samples. What every compartment loses alike, physical decay
above all, is a scalar factor exp(−σt) and is taken out first: the series then resolves the kinetics alone, and amounts
keep their relative accuracy through any number of half-lives.

The error is estimated for every patient and window from the last terms of the series, plus rounding. Beyond `rtol` the
patient's result says INACCURATE, and callers solve it again by the contour (`fallback`); where no caller can, in a
fit (`forward_mode`), the contour is part of the program and runs only when some patient needs it.

The engine (pbpk.compile.engine) is a compiled kernel with derivatives of its own (compiled_series_window.py), or the portable
one, the same in JAX (series_window.py). What machine code needs is imported where it is used: it is a chain of modules of its
own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pbpk.compile.engine import use_kernels
from pbpk.linalg.packing import evaluate_linear_part, plan_packing, produces
from pbpk.linalg.series import design
from pbpk.results import ResultCode
from pbpk.solve.base import Readings, Solver, Trajectory, build_linear_trajectory, flag_inaccurate
from pbpk.solve.contour import Contour, find_longest_cycle
from pbpk.solve.interval import CrossedInterval
from pbpk.solve.likelihood import LikelihoodData, LikelihoodResult
from pbpk.solve.schedule import CompiledSchedule
from pbpk.solve.segments import SegmentSolver, run_segments
from pbpk.solve.series_window import PropagatedWindow, ResolventWindow, propagate_series, propagate_series_reversibly

if TYPE_CHECKING:
    from pbpk.compile.programs.solution.likelihood import LikelihoodTerms
    from pbpk.model.system import System
    from pbpk.solve.segment_program import LinearSegments
    from pbpk.solve.timeline import Timeline

_SERIES_MARGIN = 1e-4  # of rtol, for the series on the axis itself: bodies are not normal, and amplify what it neglects
_MAX_KEPT_WINDOWS = 16  # whose vectors the reverse rule keeps; of more it computes them again, and memory stays bounded
_UNROLLED_WINDOWS = 2  # windows of compiled code to one turn of the scan: a dose and its samples are often no more
_LONG_CHAIN = 6  # one-way chains and cycles from here on may need the contour


@dataclass(frozen=True)
class Resolvent:
    """Exact for linear systems in which every flux is driven by its own source's amount.

    `rtol` is relative to the amount present (largest at the window's start plus what flows in). `reverse`: ready for vjp,
    else for jvp.
    """

    name: str = "resolvent"
    rtol: float = 1e-9
    reverse: bool = True

    def unsupported_reason(self, system: System) -> str:
        """Why the system cannot be solved: what the contour, which must be able to take over, cannot solve."""
        return Contour().unsupported_reason(system)

    def forward_mode(self) -> Resolvent:
        """The same, ready for jvp."""
        return replace(self, reverse=False)

    def fallback(self) -> Solver:
        """The contour, for patients whose error estimate exceeds the tolerance."""
        return Contour()

    def solve(
        self, system: System, timeline: Timeline, p: jax.Array, *, integrals: bool = False, readings: Readings = ()
    ) -> Trajectory:
        """All patients (base.py). Ready for jvp, in a system that may oscillate, the contour solves those it must."""
        from pbpk.solve.compiled_solution import solve_compiled

        def compiled(program: LinearSegments) -> CompiledSchedule:
            return partial(solve_compiled, program, readings, self.reverse)

        trajectory = self._solve(system, timeline, p, integrals, readings, compiled)
        if self.reverse or not may_oscillate(system):
            return trajectory
        inaccurate = trajectory.result & ResultCode.INACCURATE != 0
        sure = lax.cond(
            jnp.any(inaccurate),
            lambda: Contour().solve(system, timeline, p, integrals=integrals, readings=readings),
            lambda: trajectory,
        )
        return jax.tree.map(lambda a, b: jnp.where(inaccurate, a, b), sure, trajectory)

    def supports_likelihood(self, system: System, p: jax.Array, terms: LikelihoodTerms) -> bool:
        """Not where the contour may have to take over, which gives amounts."""
        from pbpk.compile.programs.solution.likelihood import unsupported_likelihood

        sure = self.reverse or not may_oscillate(system)
        return sure and p.shape[0] == 1 and use_kernels(p.dtype) and not unsupported_likelihood(terms)

    def solve_likelihood(
        self, system: System, timeline: Timeline, p: jax.Array, terms: LikelihoodTerms, data: LikelihoodData
    ) -> LikelihoodResult:
        """Of all patients (compiled_likelihood.py), which takes the place of the trajectory's amounts."""
        from pbpk.solve.compiled_likelihood import solve_likelihood_compiled

        def compiled(program: LinearSegments) -> CompiledSchedule:
            return partial(solve_likelihood_compiled, program, terms, data, self.reverse)

        trajectory = self._solve(system, timeline, p, False, terms.readings, compiled)
        return LikelihoodResult(trajectory.amounts, trajectory.result)

    def _solve(
        self,
        system: System,
        timeline: Timeline,
        p: jax.Array,
        integrals: bool,
        readings: Readings,
        compiled: Callable[[LinearSegments], CompiledSchedule],
    ) -> Trajectory:
        """By kernels or the portable engine; `compiled` makes one call of the windows' program, where one call may do."""
        from pbpk.solve.segment_program import LinearSegments

        packed, production, k = jax.vmap(lambda q: evaluate_linear_part(system, q))(p)
        tolerance = max(self.rtol, 50 * float(jnp.finfo(p.dtype).eps))
        windows, by_kernel = timeline.windows, use_kernels(p.dtype)
        span = windows.span if windows is not None and p.shape[0] == 1 else 1.0
        count = len(timeline.time) if windows is None else len(windows.closing_event)
        series = design(span, tolerance * _SERIES_MARGIN)
        window = ResolventWindow(system, series, integrals, keep=count <= _MAX_KEPT_WINDOWS, compiled=by_kernel)
        has_production = bool(produces(system))
        forward_advance = _make_advance(window, propagate, has_production, tolerance)
        advance = forward_advance
        if self.reverse:
            advance = _make_advance(window, propagate_reversibly, has_production, tolerance)
        # The double integral of an inflow has coefficients of each patient's own for every window: one at a time.
        one_call = by_kernel and not (integrals and (has_production or timeline.has_infusions))
        solver = SegmentSolver(
            advance,
            (k if by_kernel else packed, production),
            forward_advance,
            windows=windows,
            unroll=_UNROLLED_WINDOWS if by_kernel and self.reverse else 1,
            compiled=compiled(LinearSegments(system, series, integrals, tolerance)) if one_call else None,
        )
        result = run_segments(system, timeline, p, solver, integrals=integrals, readings=readings)
        return build_linear_trajectory(*result, k)


def _make_advance(window: ResolventWindow, propagate_window, has_production: bool, tolerance: float):
    """The `Advance` of a linear solver: parameters are a matrix as the window takes it, and what is produced (n, N)."""

    def advance(x, interval):
        matrix, production = interval.parameters
        inflow, source = interval.inflow, None
        if inflow is not None or has_production:
            source = (0.0 if inflow is None else inflow) + production
        amounts, integral, error = propagate_window(window, matrix, x, source, interval.stops)
        return CrossedInterval(amounts, integral, flag_inaccurate(error, tolerance))

    return advance


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


def propagate(
    window: ResolventWindow, matrix: jax.Array, x: jax.Array, source: jax.Array | None, stops: jax.Array
) -> PropagatedWindow:
    """Amounts (M, n, N) at `stops` (M, N or 1) hours after x (n, N), their integrals from 0 (or None), and the error (N,).

    Under a matrix as the window takes it and a constant source (n, N) or None; the last stop is the latest.
    Differentiable by jvp, three times.
    """
    if window.compiled:
        from pbpk.solve.compiled_series_window import propagate_compiled

        return propagate_compiled(window, matrix, x, source, stops)
    return propagate_series(window, matrix, x, source, stops)


def propagate_reversibly(window: ResolventWindow, matrix, x, source, stops) -> PropagatedWindow:
    """The same with a reverse rule by hand, instead of derivatives by jvp."""
    if window.compiled:
        from pbpk.solve.compiled_series_window import propagate_compiled_reversibly

        return propagate_compiled_reversibly(window, matrix, x, source, stops)
    return propagate_series_reversibly(window, matrix, x, source, stops)


def integrate_to_infinity(system: System, p: jax.Array, x: jax.Array) -> jax.Array:
    """∫₀^∞ of every amount (n, N), amount · h, from amounts x (n, N) on, by one real solve: −A⁻¹x.

    Production is left out: without an end it would have no integral. Parameters p (m, N). A compartment that never
    empties has an infinite integral where anything reaches it. Differentiable in p and x.
    """
    packed, _, _ = evaluate_linear_part(system, p)
    elimination = plan_packing(system).elimination
    # A loss this small changes no digit of any integral that exists, and makes the others huge instead of NaN.
    never = 1e-150 if p.dtype == jnp.float64 else 1e-25
    integral = elimination.solver(elimination.shifted(-packed, never))(x)
    return jnp.where(integral > np.sqrt(1 / never) * jnp.sum(jnp.abs(x), axis=0), jnp.inf, integral)
