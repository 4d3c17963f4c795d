"""Rosenbrock integration for saturable kinetics: no Newton iteration, one sparse factorisation a step.

Each patient takes steps of its own length, by the embedded error estimate; patients march together, and those who have
arrived take steps of length 0. With a `grid`, the number of steps of every interval is fixed beforehand instead: after a dose
every patient relaxes on the same logarithmic clock, so that as few shared steps do, without the masks and the waiting,
and the result is a smooth function of the parameters. There the error estimate is the judge: a patient that exceeds the
tolerance on any step is INACCURATE, and callers solve it again with its own steps (`stricter`).

Lengths are chosen as fractions of the interval and not differentiated; the interval's own length is, so that derivatives
with respect to dose times and lags are those of the computed solution. The reverse rule is written by hand: it keeps only
the states at events, marches through an interval again, recording states and lengths, and goes back step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pbpk.compile.engine import kernels, unless
from pbpk.compile.programs.rosenbrock.kernel import integrate_window, integrate_window_forward
from pbpk.compile.programs.rosenbrock.right_hand_side import unsupported
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod
from pbpk.compile.programs.solution.likelihood import LikelihoodTerms, unsupported_likelihood
from pbpk.linalg.tableau import TABLEAUS, Tableau
from pbpk.results import ResultCode
from pbpk.solve.base import Readings, Solver, Trajectory, sum_by_species, as_code
from pbpk.solve.compiled_likelihood import LikelihoodData, LikelihoodResult, judge_in_one_call, judge_in_one_call_forward
from pbpk.solve.compiled_solution import in_one_call, in_one_call_forward
from pbpk.solve.general import General
from pbpk.solve.interval import CrossedInterval, Interval
from pbpk.solve.right_hand_side import VectorField, build_vector_field
from pbpk.solve.segment_program import SaturableSegments
from pbpk.solve.segments import Whole, run_segments
from pbpk.solve.stage import step_adjoint, take_step

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline

_SHORTEST_FRACTION = 1e-13  # of an interval: a step this short means that no step will do


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
        return ""

    def forward_mode(self) -> Rosenbrock:
        return replace(self, reverse=False)

    def fallback(self) -> Solver:
        return replace(self, grid=None) if self.grid else General()

    def solve(
        self, system: System, timeline: Timeline, p: jax.Array, *, integrals: bool = False, readings: Readings = ()
    ) -> Trajectory:
        one = in_one_call if self.reverse else in_one_call_forward
        return self._run(system, timeline, p, integrals, readings, lambda work: partial(one, work, readings))

    def supports_likelihood(self, system: System, p: jax.Array, judge: LikelihoodTerms) -> bool:
        return p.shape[0] == 1 and kernels(p.dtype) and not unsupported(build_vector_field(system)) and not unsupported_likelihood(judge)

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
        in_one: Callable[[SaturableSegments], Whole],
    ) -> Trajectory:
        eps = float(jnp.finfo(p.dtype).eps)
        rtol = max(self.rtol, 20 * eps)
        atol = max(1e-4 * rtol if self.atol is None else self.atol, 0.1 * eps)
        march = RosenbrockOptions(build_vector_field(system), TABLEAUS[self.name], rtol, atol, self.max_steps, integrals, self.grid)

        rows = jax.vmap(march.field.bind)(p)

        def ready(cross):
            def advance(x, here):
                stops = jnp.broadcast_to(here.stops, (len(here.stops), x.shape[-1]))
                memory = choose_first_memory(march, x, here)
                return CrossedInterval(*cross(march, x, here.rate, stops, here.row, memory))

            return advance

        def compiled(cross):
            def advance(x, here):
                return CrossedInterval(*cross_window_compiled(march, cross, x, here.rate, here.stops, here.row, _kernel_memory(here, x)))

            return advance

        forward, whole, windows = ready(cross_window), None, timeline.windows
        advance = ready(cross_window_reversibly) if self.reverse else forward
        if kernels(p.dtype) and unless(unsupported(march.field)):
            forward = advance = compiled(integrate_window_forward)
            windows = timeline.unbounded_windows  # JAX's reverse keeps every step of a window
            whole = in_one(SaturableSegments(_compiled_method(march)))
            if self.reverse:
                advance = compiled(integrate_window)
        lanes = jnp.zeros(max(timeline.patients, p.shape[-1]), p.dtype)
        sane = jnp.all(jnp.isfinite(p), axis=(0, 1))
        amounts, areas, code = run_segments(
            *(system, timeline, p, rows, advance),
            integrals=integrals,
            readings=readings,
            forward=forward,
            windows=windows,
            memory=StepMemory(lanes, lanes),
            sane=sane,
            whole=whole,
        )
        # Without numbers no step is taken, which is not for want of steps: another solver would not cure it.
        return Trajectory(amounts, as_code(jnp.where(sane, code, ResultCode.NOT_FINITE)), areas)


@dataclass(frozen=True)
class RosenbrockOptions:
    """What is the same for all intervals of a solution."""

    field: VectorField
    tableau: Tableau
    rtol: float
    atol: float
    max_steps: int
    integrals: bool
    grid: tuple[float, float] | None

    @property
    def max_recorded_steps(self) -> int:
        """Steps of one window that the reverse rule can go back through: some twice what a dose and its decay take."""
        finer = (1e-3 / self.rtol) ** (1 / (self.tableau.order + 1))
        return int(np.clip(160 * finer, 160, 2048))


class StepMemory(NamedTuple):
    """(N,) h each: the next step's length, and the time since something changed."""

    length: jax.Array
    since: jax.Array


def choose_first_memory(march: RosenbrockOptions, x, here: Interval) -> StepMemory:
    first = StepMemory(
        choose_first_step(march, x, here.inflow, here.duration(x.shape[-1]), here.parameters), jnp.zeros(x.shape[-1], x.dtype)
    )
    if here.step_memory is None:
        return first
    # An interval of no length, from a dose to an observation of its time, leaves no step to be reminded of.
    length = jnp.where(here.restart | (here.step_memory.length <= 0), first.length, here.step_memory.length)
    return StepMemory(length, jnp.where(here.restart, 0.0, here.step_memory.since))


def _kernel_memory(here: Interval, x: jax.Array) -> StepMemory:
    """The memory that a kernel is given: no step's length where it is to find one itself."""
    none = jnp.zeros(x.shape[-1], x.dtype)
    if here.step_memory is None:
        return StepMemory(none, none)
    return StepMemory(*(jnp.where(here.restart, 0.0, m) for m in here.step_memory))


class _IntervalState(NamedTuple):
    """Where each patient is: amounts, their integral, the fraction of the interval behind it, the next step (h)."""

    x: jax.Array
    integral: jax.Array | None
    passed: jax.Array
    length: jax.Array
    code: jax.Array
    count: jax.Array


def choose_first_step(march: RosenbrockOptions, x, rate, dt, p) -> jax.Array:
    """(N,) h: a hundredth of the time in which the amounts would double (Hairer, Nørsett & Wanner 1993, §II.4)."""
    x, rate, dt, p = lax.stop_gradient((x, rate, dt, p))
    slope = march.field.make_slope(p)(x) + (0.0 if rate is None else rate)
    scale = march.atol * _amount_present(march, x, rate, dt) + march.rtol * jnp.abs(x)
    size, speed = jnp.max(jnp.abs(x) / scale, axis=0), jnp.max(jnp.abs(slope) / scale, axis=0)
    return jnp.minimum(jnp.where(speed > 0, 0.01 * size / jnp.where(speed > 0, speed, 1.0), dt) + 1e-6 * dt, dt)


def _amount_present(march: RosenbrockOptions, x, rate, dt) -> jax.Array:
    """(n, N) or (1, N): all there is, and is to flow in, of what each compartment holds."""
    total = jnp.abs(x) if rate is None else jnp.abs(x) + jnp.abs(rate) * dt
    total = sum_by_species(march.field.system, total)
    return jnp.where(total > 0, total, 1.0)


def _start_interval(march: RosenbrockOptions, x, dt, memory: StepMemory) -> _IntervalState:
    zero = jnp.zeros_like(x) if march.integrals else None
    done = jnp.where(dt > 0, 0.0, 1.0).astype(x.dtype)
    return _IntervalState(x, zero, done, memory.length, jnp.zeros(dt.shape, jnp.int32), jnp.zeros((), int))


def _is_moving(here: _IntervalState) -> jax.Array:
    return (here.passed < 1) & (here.code & ResultCode.GAVE_UP == 0)


def _choose_fraction(here: _IntervalState, dt: jax.Array) -> jax.Array:
    """The next step as a fraction of the interval: what is left in one or two equal steps when it is not far."""
    left = 1.0 - here.passed
    wanted = here.length / jnp.where(dt > 0, dt, 1.0)
    return jnp.where(wanted >= left, left, jnp.where(wanted > 0.5 * left, 0.5 * left, wanted))


def _grid_fraction(grid: tuple[float, float], here: _IntervalState, dt: jax.Array, since: jax.Array) -> jax.Array:
    """The same on a shared grid: equal steps in log(t + t₀), as many as its density asks for over this interval."""
    first, density = grid
    begin = since + float(first / np.expm1(1 / density))
    steps = jnp.maximum(jnp.ceil(density * jnp.log1p(dt / begin) - 1e-6), 1.0)
    ratio = jnp.log1p(dt / begin) / steps
    fraction = begin * jnp.exp(here.count.astype(dt.dtype) * ratio) * jnp.expm1(ratio) / jnp.where(dt > 0, dt, 1.0)
    return jnp.where(here.count + 1 >= steps, 1.0 - here.passed, jnp.minimum(fraction, 1.0 - here.passed))


def _try_step(march: RosenbrockOptions, here: _IntervalState, atol, rate, dt, p, since) -> tuple[_IntervalState, jax.Array]:
    """One step of every patient's own, taken or refused; and the fraction of the interval that was passed."""
    fraction = _choose_fraction(here, dt) if march.grid is None else _grid_fraction(march.grid, here, dt, since)
    fraction = lax.stop_gradient(jnp.where(_is_moving(here), fraction, 0.0))
    x, gained, error = take_step(march.field, march.tableau, here.x, fraction * dt, rate, p, march.integrals)
    scale = atol + march.rtol * jnp.maximum(jnp.abs(here.x), jnp.abs(x))
    size = lax.stop_gradient(jnp.sqrt(jnp.mean((error / scale) ** 2, axis=0)))
    size = jnp.where(jnp.isfinite(size), size, 1e10)
    # Below zero a saturable law is another one (VM·c/(KM + c) takes at full speed again): to step across is no step.
    crossed = (x < -atol) & (here.x >= -atol)
    size = jnp.where(crossed[march.field.nonlinear_compartments].any(axis=0), jnp.maximum(size, 1e3), size)
    active = fraction > 0
    good = size <= 1
    taken = active if march.grid is not None else active & good
    passed = jnp.where(taken, fraction, 0.0)
    done = jnp.where(taken & (fraction >= 1.0 - here.passed), 1.0, here.passed + passed)
    length, code = here.length, here.code
    if march.grid is None:
        factor = jnp.clip(0.9 * (size + 1e-12) ** (-1.0 / march.tableau.order), 0.2, 6.0)
        length = jnp.where(active, fraction * lax.stop_gradient(dt) * factor, here.length)
        # A step cut short by the interval's end says nothing against the longer one that was intended.
        length = jnp.where(taken, jnp.maximum(length, jnp.where(factor >= 1, here.length, 0.0)), length)
        stuck = active & ~taken & (fraction < _SHORTEST_FRACTION)
        late = here.count + 1 >= march.max_steps
        code = code | as_code(jnp.where(stuck | (late & (done < 1)), ResultCode.GAVE_UP, 0))
    else:
        code = code | as_code(jnp.where(active & ~good, ResultCode.INACCURATE, 0))
    integral = None
    if here.integral is not None and gained is not None:
        integral = here.integral + jnp.where(taken, gained, 0.0)
    return _IntervalState(jnp.where(taken, x, here.x), integral, done, length, code, here.count + 1), passed


def _integrate_to_stop(march: RosenbrockOptions, x, rate, dt, p, memory: StepMemory) -> _IntervalState:
    atol = lax.stop_gradient(march.atol * _amount_present(march, x, rate, dt))

    def again(here: _IntervalState) -> _IntervalState:
        return _try_step(march, here, atol, rate, dt, p, memory.since)[0]

    return lax.while_loop(lambda here: jnp.any(_is_moving(here)), again, _start_interval(march, x, dt, memory))


def cross_window(march: RosenbrockOptions, x, rate, stops, p, memory: StepMemory):
    """Amounts at the stops (M, n, N), their integrals or None, codes (N,), memory. Differentiable by jvp, to any order."""

    def on(state, dt):
        x, memory = state
        end = _integrate_to_stop(march, x, rate, dt, p, memory)
        return (end.x, StepMemory(end.length, memory.since + dt)), (end.x, end.integral, end.code)

    (_, memory), (amounts, gained, code) = lax.scan(on, (x, memory), _gaps_between_stops(stops))
    integrals = None if gained is None else jnp.cumsum(gained, axis=0)
    return amounts, integrals, lax.reduce_or(code, (0,)), memory


def _gaps_between_stops(stops: jax.Array) -> jax.Array:
    return jnp.diff(stops, axis=0, prepend=jnp.zeros_like(stops[:1]))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def cross_window_reversibly(march: RosenbrockOptions, x, rate, stops, p, memory: StepMemory):
    """The same, differentiable by vjp."""
    return cross_window(march, x, rate, stops, p, memory)


def _cross_window_recording(march: RosenbrockOptions, x, rate, stops, p, memory):
    return cross_window(march, x, rate, stops, p, memory), (x, rate, stops, p, memory)


def _cross_window_adjoint(march: RosenbrockOptions, kept, cotangents):
    """Through the window again, recording; then back through the recorded steps."""
    x, rate, stops, p, memory = kept
    of_amounts, of_integrals, _, _ = cotangents
    gaps, room = _gaps_between_stops(stops), march.max_recorded_steps
    record = (jnp.zeros((room, *x.shape), x.dtype), jnp.zeros((room, *stops.shape[1:]), x.dtype))

    def to_stop(state, dt):
        x, memory, at, record = state
        atol = march.atol * _amount_present(march, x, rate, dt)

        def again(carry):
            here, (states, fractions), at = carry
            there, passed = _try_step(march, here, atol, rate, dt, p, memory.since)
            states = lax.dynamic_update_index_in_dim(states, here.x, at, 0)
            return there, (states, lax.dynamic_update_index_in_dim(fractions, passed, at, 0)), at + 1

        def on(carry):
            return jnp.any(_is_moving(carry[0])) & (carry[2] < room)

        end, record, at = lax.while_loop(on, again, (_start_interval(march, x, dt, memory), record, at))
        lost = jnp.any(_is_moving(end))
        return (end.x, StepMemory(end.length, memory.since + dt), at, record), (at, lost)

    (_, _, _, (states, fractions)), (ends, lost) = lax.scan(to_stop, (x, memory, jnp.zeros((), int), record), gaps)
    begins = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    of_gains = None if of_integrals is None else jnp.cumsum(of_integrals[::-1], axis=0)[::-1]

    def back_to(bars, at):
        dt, of_x, of_gain, begin, end = at
        bar_x, bar_rate, bar_p = bars

        def back(carry):
            i, bar_x, bar_rate, bar_p, bar_dt = carry
            dx, dh, drate, dp = step_adjoint(
                march.field, march.tableau, states[i], fractions[i] * dt, rate, p, bar_x, of_gain
            )
            bar_rate = None if rate is None else bar_rate + drate
            return i - 1, dx, bar_rate, jax.tree.map(jnp.add, bar_p, dp), bar_dt + fractions[i] * dh

        start = (end - 1, bar_x + of_x, bar_rate, bar_p, jnp.zeros_like(dt))
        _, *bars, bar_dt = lax.while_loop(lambda carry: carry[0] >= begin, back, start)
        return tuple(bars), bar_dt

    nothing = None if rate is None else jnp.zeros_like(rate)
    bars = (jnp.zeros_like(x), nothing, jax.tree.map(jnp.zeros_like, p))
    bars, bar_gaps = lax.scan(back_to, bars, (gaps, of_amounts, of_gains, begins, ends), reverse=True)
    # Each stop ends one gap and begins the next.
    bar_stops = bar_gaps - jnp.concatenate([bar_gaps[1:], jnp.zeros_like(bar_gaps[:1])])
    short = jnp.any(lost)  # more steps than there was room for: no number is better than a wrong one
    (bar_x, bar_rate, bar_p), bar_stops = jax.tree.map(lambda b: jnp.where(short, jnp.nan, b), (bars, bar_stops))
    return bar_x, bar_rate, bar_stops, bar_p, jax.tree.map(jnp.zeros_like, memory)


cross_window_reversibly.defvjp(_cross_window_recording, _cross_window_adjoint)


def cross_window_compiled(march: RosenbrockOptions, cross, x, rate, stops, p, memory: StepMemory):
    """The same by a kernel, from stops (M, N or 1) and what `_reminded` gives; differentiable by vjp, or by jvp with
    `cross_along`."""
    found = cross(_compiled_method(march), x, rate, stops, p, memory)
    since = lax.stop_gradient(memory.since + stops[-1])
    return found.amounts, found.integrals, found.code, StepMemory(found.length, since)


def _compiled_method(march: RosenbrockOptions) -> RosenbrockMethod:
    """What a kernel is told of it."""
    names = ("field", "tableau", "rtol", "atol", "max_steps", "integrals", "grid", "room")
    return RosenbrockMethod(*(getattr(march, name) for name in names))
