"""A window of saturable kinetics in JAX, the portable engine's: Rosenbrock steps from stop to stop, and their reverse rule.

Patients take their steps together, each of its own length or its own part of a shared grid; those who have arrived take
steps of length 0. Lengths are chosen as fractions of the interval and not differentiated; the interval's own length is. The
reverse rule keeps only the state at the window's start, integrates again, recording states and lengths, and goes back step
by step. pbpk.compile.programs.rosenbrock has the same algorithm on operands, for machine code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pbpk.linalg.step_control import (
    CROSSING_ERROR,
    FIRST_STEP,
    GRID_SLACK,
    GROW,
    LARGEST_ERROR,
    LEAST_ERROR,
    SAFETY,
    SHORTEST_FRACTION,
    SHRINK,
)
from pbpk.results import ResultCode
from pbpk.solve.base import as_code, sum_present
from pbpk.solve.rosenbrock_step import step_adjoint, take_step

if TYPE_CHECKING:
    from pbpk.linalg.tableau import RosenbrockTableau
    from pbpk.solve.interval import Interval
    from pbpk.solve.right_hand_side import VectorField


@dataclass(frozen=True)
class RosenbrockOptions:
    """What is the same for all intervals of a solution: the vector field, the method's tableau, tolerances (base.py's solver
    says relative to what), how many steps an interval may take, whether integrals are wanted, and the shared grid if any."""

    field: VectorField
    tableau: RosenbrockTableau
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
    """What one interval tells the next, (N,) h each: the next step's length, and the time since something changed."""

    length: jax.Array
    since: jax.Array


def choose_first_memory(options: RosenbrockOptions, x: jax.Array, interval: Interval) -> StepMemory:
    """The memory with which an interval begins: the last one's, unless something changed in between."""
    length = choose_first_step(options, x, interval.inflow, interval.duration(x.shape[-1]), interval.parameters)
    first = StepMemory(length, jnp.zeros(x.shape[-1], x.dtype))
    memory = interval.step_memory
    if memory is None:
        return first
    # An interval of no length, from a dose to an observation of its time, leaves no step to remember.
    length = jnp.where(interval.restart | (memory.length <= 0), first.length, memory.length)
    return StepMemory(length, jnp.where(interval.restart, 0.0, memory.since))


class _IntervalState(NamedTuple):
    """Where each patient is: amounts, their integral, the fraction of the interval that is passed, the next step's length (h),
    the result code, and how many steps all have tried."""

    x: jax.Array
    integral: jax.Array | None
    passed: jax.Array
    length: jax.Array
    code: jax.Array
    count: jax.Array


def choose_first_step(options: RosenbrockOptions, x, rate, dt, p) -> jax.Array:
    """(N,) h: a hundredth of the time in which the amounts would double (Hairer, Nørsett & Wanner 1993, §II.4)."""
    x, rate, dt, p = lax.stop_gradient((x, rate, dt, p))
    slope = options.field.make_slope(p)(x) + (0.0 if rate is None else rate)
    scale = options.atol * _amount_present(options, x, rate, dt) + options.rtol * jnp.abs(x)
    size, speed = jnp.max(jnp.abs(x) / scale, axis=0), jnp.max(jnp.abs(slope) / scale, axis=0)
    return jnp.minimum(jnp.where(speed > 0, FIRST_STEP * size / jnp.where(speed > 0, speed, 1.0), dt) + 1e-6 * dt, dt)


def _amount_present(options: RosenbrockOptions, x, rate, dt) -> jax.Array:
    """(n, N) or (1, N): all there is, and is to flow in, of what each compartment holds."""
    total = jnp.abs(x) if rate is None else jnp.abs(x) + jnp.abs(rate) * dt
    total = sum_present(options.field.system, total)
    return jnp.where(total > 0, total, 1.0)


def _start_interval(options: RosenbrockOptions, x, dt, memory: StepMemory) -> _IntervalState:
    """The state at the interval's start; one of no length is passed already."""
    zero = jnp.zeros_like(x) if options.integrals else None
    passed = jnp.where(dt > 0, 0.0, 1.0).astype(x.dtype)
    return _IntervalState(x, zero, passed, memory.length, jnp.zeros(dt.shape, jnp.int32), jnp.zeros((), int))


def _is_moving(state: _IntervalState) -> jax.Array:
    """(N,) whether a patient is still under way."""
    return (state.passed < 1) & (state.code & ResultCode.GAVE_UP == 0)


def _choose_fraction(state: _IntervalState, dt: jax.Array) -> jax.Array:
    """The next step as a fraction of the interval: what is left in one or two equal steps when it is not far."""
    left = 1.0 - state.passed
    wanted = state.length / jnp.where(dt > 0, dt, 1.0)
    return jnp.where(wanted >= left, left, jnp.where(wanted > 0.5 * left, 0.5 * left, wanted))


def _grid_fraction(grid: tuple[float, float], state: _IntervalState, dt: jax.Array, since: jax.Array) -> jax.Array:
    """The same on a shared grid: equal steps in log(t + t₀), as many as its density asks for over this interval."""
    first, density = grid
    begin = since + float(first / np.expm1(1 / density))
    steps = jnp.maximum(jnp.ceil(density * jnp.log1p(dt / begin) - GRID_SLACK), 1.0)
    ratio = jnp.log1p(dt / begin) / steps
    fraction = begin * jnp.exp(state.count.astype(dt.dtype) * ratio) * jnp.expm1(ratio) / jnp.where(dt > 0, dt, 1.0)
    return jnp.where(state.count + 1 >= steps, 1.0 - state.passed, jnp.minimum(fraction, 1.0 - state.passed))


def _try_step(
    options: RosenbrockOptions, state: _IntervalState, atol, rate, dt, p, since
) -> tuple[_IntervalState, jax.Array]:
    """One step of every patient's own, accepted or rejected; and the fraction of the interval that was advanced."""
    on_grid = options.grid is not None
    fraction = _grid_fraction(options.grid, state, dt, since) if options.grid else _choose_fraction(state, dt)
    fraction = lax.stop_gradient(jnp.where(_is_moving(state), fraction, 0.0))
    x, gained, error = take_step(options.field, options.tableau, state.x, fraction * dt, rate, p, options.integrals)
    scale = atol + options.rtol * jnp.maximum(jnp.abs(state.x), jnp.abs(x))
    size = lax.stop_gradient(jnp.sqrt(jnp.mean((error / scale) ** 2, axis=0)))
    size = jnp.where(jnp.isfinite(size), size, LARGEST_ERROR)
    # Below zero a saturable law is another one (VM·c/(KM + c) takes at full speed again): to step across is no step.
    crossed = (x < -atol) & (state.x >= -atol)
    size = jnp.where(crossed[options.field.nonlinear_compartments].any(axis=0), jnp.maximum(size, CROSSING_ERROR), size)
    active = fraction > 0
    good = size <= 1
    accepted = active if on_grid else active & good
    advanced = jnp.where(accepted, fraction, 0.0)
    passed = jnp.where(accepted & (fraction >= 1.0 - state.passed), 1.0, state.passed + advanced)
    length, code = state.length, state.code
    if on_grid:
        code = code | as_code(jnp.where(active & ~good, ResultCode.INACCURATE, 0))
    else:
        factor = jnp.clip(SAFETY * (size + LEAST_ERROR) ** (-1.0 / options.tableau.order), SHRINK, GROW)
        length = jnp.where(active, fraction * lax.stop_gradient(dt) * factor, state.length)
        # A step cut short by the interval's end says nothing against the longer one that was intended.
        length = jnp.where(accepted, jnp.maximum(length, jnp.where(factor >= 1, state.length, 0.0)), length)
        stuck = active & ~accepted & (fraction < SHORTEST_FRACTION)
        late = state.count + 1 >= options.max_steps
        code = code | as_code(jnp.where(stuck | (late & (passed < 1)), ResultCode.GAVE_UP, 0))
    integral = None
    if state.integral is not None and gained is not None:
        integral = state.integral + jnp.where(accepted, gained, 0.0)
    return _IntervalState(jnp.where(accepted, x, state.x), integral, passed, length, code, state.count + 1), advanced


def _integrate_to_stop(options: RosenbrockOptions, x, rate, dt, p, memory: StepMemory) -> _IntervalState:
    """All patients over dt (N,) hours, each in as many steps as it takes."""
    atol = lax.stop_gradient(options.atol * _amount_present(options, x, rate, dt))

    def step(state: _IntervalState) -> _IntervalState:
        return _try_step(options, state, atol, rate, dt, p, memory.since)[0]

    return lax.while_loop(lambda state: jnp.any(_is_moving(state)), step, _start_interval(options, x, dt, memory))


def cross_window(options: RosenbrockOptions, x, rate, stops, p, memory: StepMemory):
    """Amounts at the stops (M, n, N), their integrals or None, codes (N,), memory. Differentiable by jvp, to any order."""

    def to_stop(carry, dt):
        x, memory = carry
        end = _integrate_to_stop(options, x, rate, dt, p, memory)
        return (end.x, StepMemory(end.length, memory.since + dt)), (end.x, end.integral, end.code)

    (_, memory), (amounts, gained, code) = lax.scan(to_stop, (x, memory), _gaps_between_stops(stops))
    integrals = None if gained is None else jnp.cumsum(gained, axis=0)
    return amounts, integrals, lax.reduce_or(code, (0,)), memory


def _gaps_between_stops(stops: jax.Array) -> jax.Array:
    """Hours from each stop (M, N) to the next, the first from the window's start."""
    return jnp.diff(stops, axis=0, prepend=jnp.zeros_like(stops[:1]))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def cross_window_reversibly(options: RosenbrockOptions, x, rate, stops, p, memory: StepMemory):
    """The same, differentiable by vjp."""
    return cross_window(options, x, rate, stops, p, memory)


def _cross_window_recording(options: RosenbrockOptions, x, rate, stops, p, memory):
    return cross_window(options, x, rate, stops, p, memory), (x, rate, stops, p, memory)


def _cross_window_adjoint(options: RosenbrockOptions, kept, cotangents):
    """Through the window again, recording; then back through the recorded steps."""
    x, rate, stops, p, memory = kept
    of_amounts, of_integrals, _, _ = cotangents
    gaps, room = _gaps_between_stops(stops), options.max_recorded_steps
    record = (jnp.zeros((room, *x.shape), x.dtype), jnp.zeros((room, *stops.shape[1:]), x.dtype))

    def to_stop(carry, dt):
        x, memory, count, record = carry
        atol = options.atol * _amount_present(options, x, rate, dt)

        def step(carry):
            state, (states, fractions), count = carry
            after, advanced = _try_step(options, state, atol, rate, dt, p, memory.since)
            states = lax.dynamic_update_index_in_dim(states, state.x, count, 0)
            fractions = lax.dynamic_update_index_in_dim(fractions, advanced, count, 0)
            return after, (states, fractions), count + 1

        def goes_on(carry):
            return jnp.any(_is_moving(carry[0])) & (carry[2] < room)

        start = (_start_interval(options, x, dt, memory), record, count)
        end, record, count = lax.while_loop(goes_on, step, start)
        unrecorded = jnp.any(_is_moving(end))
        return (end.x, StepMemory(end.length, memory.since + dt), count, record), (count, unrecorded)

    (_, _, _, (states, fractions)), (ends, unrecorded) = lax.scan(
        to_stop, (x, memory, jnp.zeros((), int), record), gaps
    )
    begins = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    of_gains = None if of_integrals is None else jnp.cumsum(of_integrals[::-1], axis=0)[::-1]

    def back_to_stop(bars, gap):
        dt, of_x, of_gain, begin, end = gap
        bar_x, bar_rate, bar_p = bars

        def step_back(carry):
            i, bar_x, bar_rate, bar_p, bar_dt = carry
            dx, dh, drate, dp = step_adjoint(
                options.field, options.tableau, states[i], fractions[i] * dt, rate, p, bar_x, of_gain
            )
            bar_rate = None if rate is None else bar_rate + drate
            return i - 1, dx, bar_rate, jax.tree.map(jnp.add, bar_p, dp), bar_dt + fractions[i] * dh

        start = (end - 1, bar_x + of_x, bar_rate, bar_p, jnp.zeros_like(dt))
        _, *bars, bar_dt = lax.while_loop(lambda carry: carry[0] >= begin, step_back, start)
        return tuple(bars), bar_dt

    no_rate = None if rate is None else jnp.zeros_like(rate)
    bars = (jnp.zeros_like(x), no_rate, jax.tree.map(jnp.zeros_like, p))
    bars, bar_gaps = lax.scan(back_to_stop, bars, (gaps, of_amounts, of_gains, begins, ends), reverse=True)
    # Each stop ends one gap and begins the next.
    bar_stops = bar_gaps - jnp.concatenate([bar_gaps[1:], jnp.zeros_like(bar_gaps[:1])])
    short = jnp.any(unrecorded)  # more steps than there was room for: no number is better than a wrong one
    (bar_x, bar_rate, bar_p), bar_stops = jax.tree.map(lambda b: jnp.where(short, jnp.nan, b), (bars, bar_stops))
    return bar_x, bar_rate, bar_stops, bar_p, jax.tree.map(jnp.zeros_like, memory)


cross_window_reversibly.defvjp(_cross_window_recording, _cross_window_adjoint)
