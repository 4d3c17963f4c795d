"""Rosenbrock integration for saturable kinetics: no Newton iteration, one sparse factorisation a step.

Each patient takes steps of its own length, by the embedded error estimate. With a `grid`, the number of steps of every
interval is fixed beforehand instead: after a dose every patient relaxes on the same logarithmic clock, so that as few shared
steps do, without the masks and the waiting, and the result is a smooth function of the parameters. There the error estimate
is only compared with the tolerance: a patient that exceeds it on any step is INACCURATE, and callers solve it again with
steps of its own (`fallback`).

Lengths are chosen as fractions of the interval and not differentiated; the interval's own length is, so that derivatives
with respect to dose times and lags are those of the computed solution. The engine (pbpk.compile.engine) is a compiled kernel,
or the portable one in JAX (rosenbrock_window.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

from pbpk.compile.engine import use_kernels, note_unsupported
from pbpk.compile.programs.rosenbrock.kernel import integrate_window, integrate_window_forward
from pbpk.compile.programs.rosenbrock.right_hand_side import unsupported
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod
from pbpk.compile.programs.solution.likelihood import LikelihoodTerms, unsupported_likelihood
from pbpk.linalg.tableau import TABLEAUS
from pbpk.results import ResultCode
from pbpk.solve.base import Readings, Solver, Trajectory, as_code
from pbpk.solve.compiled_likelihood import LikelihoodData, LikelihoodResult, solve_likelihood_compiled
from pbpk.solve.compiled_solution import solve_compiled
from pbpk.solve.general import General
from pbpk.solve.interval import Advance, CrossedInterval, Interval
from pbpk.solve.right_hand_side import build_vector_field
from pbpk.solve.rosenbrock_window import (
    RosenbrockOptions,
    StepMemory,
    choose_first_memory,
    cross_window,
    cross_window_reversibly,
)
from pbpk.solve.schedule import CompiledSchedule
from pbpk.solve.segment_program import SaturableSegments
from pbpk.solve.segments import SegmentSolver, run_segments

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline


@dataclass(frozen=True)
class Rosenbrock:
    """`name` is rodas4 or rodas5p. `rtol` is relative to each amount, `atol` to all that is present in the patient (a ten-
    thousandth of `rtol` when not given).

    `grid` (hours, steps): a shared grid whose first step is that long and which has that many steps for each e-fold of
    the time since the last dose or other change.
    """

    name: str = "rodas5p"
    rtol: float = 1e-8
    atol: float | None = None
    grid: tuple[float, float] | None = None
    max_steps: int = 20_000
    reverse: bool = True

    def unsupported_reason(self, system: System) -> str:
        """Nothing is."""
        return ""

    def forward_mode(self) -> Rosenbrock:
        """The same, ready for jvp."""
        return replace(self, reverse=False)

    def fallback(self) -> Solver:
        """Steps of each patient's own instead of a grid; then a general solver."""
        return replace(self, grid=None) if self.grid else General()

    def solve(
        self, system: System, timeline: Timeline, p: jax.Array, *, integrals: bool = False, readings: Readings = ()
    ) -> Trajectory:
        """All patients (base.py)."""

        def compiled(program: SaturableSegments) -> CompiledSchedule:
            return partial(solve_compiled, program, readings, self.reverse)

        return self._solve(system, timeline, p, integrals, readings, compiled)

    def supports_likelihood(self, system: System, p: jax.Array, terms: LikelihoodTerms) -> bool:
        """Where laws and likelihoods can be written on operands, and parameters do not change on the way."""
        compilable = p.shape[0] == 1 and use_kernels(p.dtype) and not unsupported(build_vector_field(system))
        return compilable and not unsupported_likelihood(terms)

    def solve_likelihood(
        self, system: System, timeline: Timeline, p: jax.Array, terms: LikelihoodTerms, data: LikelihoodData
    ) -> LikelihoodResult:
        """Of all patients (compiled_likelihood.py), which takes the place of the trajectory's amounts."""

        def compiled(program: SaturableSegments) -> CompiledSchedule:
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
        compiled: Callable[[SaturableSegments], CompiledSchedule],
    ) -> Trajectory:
        eps = float(jnp.finfo(p.dtype).eps)
        rtol = max(self.rtol, 20 * eps)
        atol = max(1e-4 * rtol if self.atol is None else self.atol, 0.1 * eps)
        field = build_vector_field(system)
        options = RosenbrockOptions(field, TABLEAUS[self.name], rtol, atol, self.max_steps, integrals, self.grid)
        by_kernel = use_kernels(p.dtype) and note_unsupported(unsupported(field))
        if by_kernel:
            forward_advance = _make_compiled_advance(options, integrate_window_forward)
            advance = _make_compiled_advance(options, integrate_window) if self.reverse else forward_advance
        else:
            forward_advance = _make_advance(options, cross_window)
            advance = _make_advance(options, cross_window_reversibly) if self.reverse else forward_advance
        lanes = jnp.zeros(max(timeline.patients, p.shape[-1]), p.dtype)
        solvable = jnp.all(jnp.isfinite(p), axis=(0, 1))
        solver = SegmentSolver(
            advance,
            jax.vmap(field.bind)(p),
            forward_advance,
            # JAX's reverse keeps every step of a window: windows as short as the linear solver's.
            windows=timeline.unbounded_windows if by_kernel else timeline.windows,
            step_memory=StepMemory(lanes, lanes),
            solvable=solvable,
            compiled=compiled(SaturableSegments(_compiled_method(options))) if by_kernel else None,
        )
        result = run_segments(system, timeline, p, solver, integrals=integrals, readings=readings)
        # Without numbers no step is taken, which is not for want of steps: another solver would not cure it.
        code = as_code(jnp.where(solvable, result.code, ResultCode.NOT_FINITE))
        return Trajectory(result.amounts, code, result.integrals)


def _make_advance(options: RosenbrockOptions, cross) -> Advance:
    """By the portable engine: `cross` is `cross_window` or `cross_window_reversibly`."""

    def advance(x, interval):
        stops = jnp.broadcast_to(interval.stops, (len(interval.stops), x.shape[-1]))
        memory = choose_first_memory(options, x, interval)
        return CrossedInterval(*cross(options, x, interval.inflow, stops, interval.parameters, memory))

    return advance


def _make_compiled_advance(options: RosenbrockOptions, cross) -> Advance:
    """By a kernel: `cross` is `integrate_window` or `integrate_window_forward`."""

    def advance(x, interval):
        memory = _kernel_memory(interval, x)
        crossed = cross_window_compiled(options, cross, x, interval.inflow, interval.stops, interval.parameters, memory)
        return CrossedInterval(*crossed)

    return advance


def _kernel_memory(interval: Interval, x: jax.Array) -> StepMemory:
    """The memory with which a kernel begins: no step's length, and 0, where it is to find one itself."""
    none = jnp.zeros(x.shape[-1], x.dtype)
    if interval.step_memory is None:
        return StepMemory(none, none)
    return StepMemory(*(jnp.where(interval.restart, 0.0, m) for m in interval.step_memory))


def cross_window_compiled(options: RosenbrockOptions, cross, x, rate, stops, p, memory: StepMemory):
    """`cross_window` by a kernel, from stops (M, N or 1) and what `_kernel_memory` gives; differentiable by vjp, or by jvp with
    `integrate_window_forward`."""
    result = cross(_compiled_method(options), x, rate, stops, p, memory)
    since = lax.stop_gradient(memory.since + stops[-1])
    return result.amounts, result.integrals, result.code, StepMemory(result.length, since)


def _compiled_method(options: RosenbrockOptions) -> RosenbrockMethod:
    """The options as kernels take them."""
    return RosenbrockMethod(
        field=options.field,
        tableau=options.tableau,
        rtol=options.rtol,
        atol=options.atol,
        max_steps=options.max_steps,
        integrals=options.integrals,
        grid=options.grid,
        recorded_steps=options.max_recorded_steps,
    )
