"""Rosenbrock integration for saturable kinetics: no Newton iteration, one sparse factorisation a step.

Each patient takes steps of its own length, by the embedded error estimate. With a `grid`, the number of steps of every
interval is fixed beforehand instead: after a dose every patient relaxes on the same logarithmic clock, so that as few shared
steps do, without the masks and the waiting, and the result is a smooth function of the parameters. There the error estimate
is only compared with the tolerance: a patient that exceeds it on any step is INACCURATE, and callers solve it again with
steps of its own (`fallback`).

Lengths are chosen as fractions of the interval and not differentiated; the interval's own length is, so that derivatives
with respect to dose times and lags are those of the computed solution. The engine (pbpk.compile.engine) is a compiled kernel
(compiled_rosenbrock_window.py), or the portable one in JAX (rosenbrock_window.py). What machine code needs is imported where it
is used: it is a chain of modules of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pbpk.compile.engine import note_unsupported, use_kernels
from pbpk.linalg.tableau import TABLEAUS
from pbpk.results import ResultCode
from pbpk.solve.base import Readings, Solver, Trajectory, as_code
from pbpk.solve.general import General
from pbpk.solve.interval import Advance, CrossedInterval
from pbpk.solve.likelihood import LikelihoodData, LikelihoodResult
from pbpk.solve.right_hand_side import build_vector_field
from pbpk.solve.rosenbrock_window import (
    RosenbrockOptions,
    StepMemory,
    choose_first_memory,
    cross_window,
    cross_window_reversibly,
)
from pbpk.solve.schedule import CompiledSchedule
from pbpk.solve.segments import SegmentSolver, run_segments

if TYPE_CHECKING:
    from pbpk.compile.programs.solution.likelihood import LikelihoodTerms
    from pbpk.model.system import System
    from pbpk.solve.segment_program import SaturableSegments
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
        from pbpk.solve.compiled_solution import solve_compiled

        def compiled(program: SaturableSegments) -> CompiledSchedule:
            return partial(solve_compiled, program, readings, self.reverse)

        return self._solve(system, timeline, p, integrals, readings, compiled)

    def supports_likelihood(self, system: System, p: jax.Array, terms: LikelihoodTerms) -> bool:
        """Where laws and likelihoods can be written on operands, and parameters do not change on the way."""
        from pbpk.compile.programs.rosenbrock.right_hand_side import unsupported
        from pbpk.compile.programs.solution.likelihood import unsupported_likelihood

        compilable = p.shape[0] == 1 and use_kernels(p.dtype) and not unsupported(build_vector_field(system))
        return compilable and not unsupported_likelihood(terms)

    def solve_likelihood(
        self, system: System, timeline: Timeline, p: jax.Array, terms: LikelihoodTerms, data: LikelihoodData
    ) -> LikelihoodResult:
        """Of all patients (compiled_likelihood.py), which takes the place of the trajectory's amounts."""
        from pbpk.solve.compiled_likelihood import solve_likelihood_compiled

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
        """By kernels or the portable engine; `compiled` makes one call of the windows' program, where one call may do."""
        from pbpk.compile.programs.rosenbrock.right_hand_side import unsupported
        from pbpk.solve.compiled_rosenbrock_window import build_method, make_compiled_advance
        from pbpk.solve.segment_program import SaturableSegments

        eps = float(jnp.finfo(p.dtype).eps)
        rtol = max(self.rtol, 20 * eps)
        atol = max(1e-4 * rtol if self.atol is None else self.atol, 0.1 * eps)
        field = build_vector_field(system)
        options = RosenbrockOptions(field, TABLEAUS[self.name], rtol, atol, self.max_steps, integrals, self.grid)
        by_kernel = use_kernels(p.dtype) and note_unsupported(unsupported(field))
        make_advance = make_compiled_advance if by_kernel else _make_advance
        lanes = jnp.zeros(max(timeline.patients, p.shape[-1]), p.dtype)
        solvable = jnp.all(jnp.isfinite(p), axis=(0, 1))
        solver = SegmentSolver(
            make_advance(options, self.reverse),
            jax.vmap(field.bind)(p),
            make_advance(options, False),
            # JAX's reverse keeps every step of a window: windows as short as the linear solver's.
            windows=timeline.unbounded_windows if by_kernel else timeline.windows,
            step_memory=StepMemory(lanes, lanes),
            solvable=solvable,
            compiled=compiled(SaturableSegments(build_method(options))) if by_kernel else None,
        )
        result = run_segments(system, timeline, p, solver, integrals=integrals, readings=readings)
        # Without numbers no step is taken, which is not for want of steps: another solver would not cure it.
        code = as_code(jnp.where(solvable, result.code, ResultCode.NOT_FINITE))
        return Trajectory(result.amounts, code, result.integrals)


def _make_advance(options: RosenbrockOptions, reverse: bool) -> Advance:
    """The `Advance` of the portable engine: differentiable by vjp if `reverse`, else by jvp."""
    cross: Any = cross_window_reversibly if reverse else cross_window

    def advance(x, interval):
        stops = jnp.broadcast_to(interval.stops, (len(interval.stops), x.shape[-1]))
        memory = choose_first_memory(options, x, interval)
        return CrossedInterval(*cross(options, x, interval.inflow, stops, interval.parameters, memory))

    return advance
