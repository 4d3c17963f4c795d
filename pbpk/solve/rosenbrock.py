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
from pbpk.compile.programs.rosenbrock.kernel import cross, cross_along
from pbpk.compile.programs.rosenbrock.right_hand_side import unsupported
from pbpk.compile.programs.rosenbrock.window import Method
from pbpk.compile.programs.solution.likelihood import Judge, unjudged
from pbpk.linalg.tableau import TABLEAUS, Tableau
from pbpk.results import ResultCode
from pbpk.solve.base import Readings, Solver, Trajectory, by_species, cast
from pbpk.solve.compiled_likelihood import Facts, Verdict, judge_in_one_call, judge_in_one_call_forward
from pbpk.solve.compiled_solution import in_one_call, in_one_call_forward
from pbpk.solve.general import General
from pbpk.solve.interval import Crossing, Interval
from pbpk.solve.right_hand_side import Field, field
from pbpk.solve.segment_program import Saturable
from pbpk.solve.segments import Whole, run_segments
from pbpk.solve.stage import pull_step, take_step

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.timeline import Timeline

_LEAST = 1e-13  # of an interval: a step this short means that no step will do


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

    def refuses(self, system: System) -> str:
        return ""

    def forward_mode(self) -> Rosenbrock:
        return replace(self, reverse=False)

    def stricter(self) -> Solver:
        return replace(self, grid=None) if self.grid else General()

    def solve(
        self, system: System, timeline: Timeline, p: jax.Array, *, integrals: bool = False, readings: Readings = ()
    ) -> Trajectory:
        one = in_one_call if self.reverse else in_one_call_forward
        return self._run(system, timeline, p, integrals, readings, lambda work: partial(one, work, readings))

    def judges(self, system: System, p: jax.Array, judge: Judge) -> bool:
        return p.shape[0] == 1 and kernels(p.dtype) and not unsupported(field(system)) and not unjudged(judge)

    def judge(self, system: System, timeline: Timeline, p: jax.Array, judge: Judge, facts: Facts) -> Verdict:
        one = judge_in_one_call if self.reverse else judge_in_one_call_forward
        found = self._run(system, timeline, p, False, judge.readings, lambda work: partial(one, work, judge, facts))
        return Verdict(found.amounts, found.result)

    def _run(
        self,
        system: System,
        timeline: Timeline,
        p: jax.Array,
        integrals: bool,
        readings: Readings,
        in_one: Callable[[Saturable], Whole],
    ) -> Trajectory:
        eps = float(jnp.finfo(p.dtype).eps)
        rtol = max(self.rtol, 20 * eps)
        atol = max(1e-4 * rtol if self.atol is None else self.atol, 0.1 * eps)
        march = March(field(system), TABLEAUS[self.name], rtol, atol, self.max_steps, integrals, self.grid)

        rows = jax.vmap(march.field.bind)(p)

        def ready(cross):
            def advance(x, here):
                stops = jnp.broadcast_to(here.stops, (len(here.stops), x.shape[-1]))
                memory = _first_memory(march, x, here)
                return Crossing(*cross(march, x, here.rate, stops, here.row, memory))

            return advance

        def compiled(cross):
            def advance(x, here):
                return Crossing(*cross_compiled(march, cross, x, here.rate, here.stops, here.row, _reminded(here, x)))

            return advance

        forward, whole, windows = ready(cross_window), None, timeline.windows
        advance = ready(cross_window_reversibly) if self.reverse else forward
        if kernels(p.dtype) and unless(unsupported(march.field)):
            forward = advance = compiled(cross_along)
            windows = timeline.stretches  # JAX's reverse keeps every step of a window
            whole = in_one(Saturable(_method(march)))
            if self.reverse:
                advance = compiled(cross)
        lanes = jnp.zeros(max(timeline.patients, p.shape[-1]), p.dtype)
        sane = jnp.all(jnp.isfinite(p), axis=(0, 1))
        amounts, areas, code = run_segments(
            *(system, timeline, p, rows, advance),
            integrals=integrals,
            readings=readings,
            forward=forward,
            windows=windows,
            memory=_Memory(lanes, lanes),
            sane=sane,
            whole=whole,
        )
        # Without numbers no step is taken, which is not for want of steps: another solver would not cure it.
        return Trajectory(amounts, cast(jnp.where(sane, code, ResultCode.NOT_FINITE)), areas)


@dataclass(frozen=True)
class March:
    """What is the same for all intervals of a solution."""

    field: Field
    tableau: Tableau
    rtol: float
    atol: float
    max_steps: int
    integrals: bool
    grid: tuple[float, float] | None

    @property
    def room(self) -> int:
        """Steps of one window that the reverse rule can go back through: some twice what a dose and its decay take."""
        finer = (1e-3 / self.rtol) ** (1 / (self.tableau.order + 1))
        return int(np.clip(160 * finer, 160, 2048))


class _Memory(NamedTuple):
    """(N,) h each: the next step's length, and the time since something changed."""

    length: jax.Array
    since: jax.Array


def _first_memory(march: March, x, here: Interval) -> _Memory:
    first = _Memory(
        first_step(march, x, here.rate, here.length(x.shape[-1]), here.row), jnp.zeros(x.shape[-1], x.dtype)
    )
    if here.memory is None:
        return first
    # An interval of no length, from a dose to an observation of its time, leaves no step to be reminded of.
    length = jnp.where(here.fresh | (here.memory.length <= 0), first.length, here.memory.length)
    return _Memory(length, jnp.where(here.fresh, 0.0, here.memory.since))


def _reminded(here: Interval, x: jax.Array) -> _Memory:
    """The memory that a kernel is given: no step's length where it is to find one itself."""
    none = jnp.zeros(x.shape[-1], x.dtype)
    if here.memory is None:
        return _Memory(none, none)
    return _Memory(*(jnp.where(here.fresh, 0.0, m) for m in here.memory))


class _Here(NamedTuple):
    """Where each patient is: amounts, their integral, the fraction of the interval behind it, the next step (h)."""

    x: jax.Array
    integral: jax.Array | None
    done: jax.Array
    length: jax.Array
    code: jax.Array
    count: jax.Array


def first_step(march: March, x, rate, dt, p) -> jax.Array:
    """(N,) h: a hundredth of the time in which the amounts would double (Hairer, Nørsett & Wanner 1993, §II.4)."""
    x, rate, dt, p = lax.stop_gradient((x, rate, dt, p))
    slope = march.field.ready(p)(x) + (0.0 if rate is None else rate)
    scale = march.atol * _present(march, x, rate, dt) + march.rtol * jnp.abs(x)
    size, speed = jnp.max(jnp.abs(x) / scale, axis=0), jnp.max(jnp.abs(slope) / scale, axis=0)
    return jnp.minimum(jnp.where(speed > 0, 0.01 * size / jnp.where(speed > 0, speed, 1.0), dt) + 1e-6 * dt, dt)


def _present(march: March, x, rate, dt) -> jax.Array:
    """(n, N) or (1, N): all there is, and is to flow in, of what each compartment holds."""
    total = jnp.abs(x) if rate is None else jnp.abs(x) + jnp.abs(rate) * dt
    total = by_species(march.field.system, total)
    return jnp.where(total > 0, total, 1.0)


def _start(march: March, x, dt, memory: _Memory) -> _Here:
    zero = jnp.zeros_like(x) if march.integrals else None
    done = jnp.where(dt > 0, 0.0, 1.0).astype(x.dtype)
    return _Here(x, zero, done, memory.length, jnp.zeros(dt.shape, jnp.int32), jnp.zeros((), int))


def _marching(here: _Here) -> jax.Array:
    return (here.done < 1) & (here.code & ResultCode.GAVE_UP == 0)


def _own_fraction(here: _Here, dt: jax.Array) -> jax.Array:
    """The next step as a fraction of the interval: what is left in one or two equal steps when it is not far."""
    left = 1.0 - here.done
    wanted = here.length / jnp.where(dt > 0, dt, 1.0)
    return jnp.where(wanted >= left, left, jnp.where(wanted > 0.5 * left, 0.5 * left, wanted))


def _grid_fraction(grid: tuple[float, float], here: _Here, dt: jax.Array, since: jax.Array) -> jax.Array:
    """The same on a shared grid: equal steps in log(t + t₀), as many as its density asks for over this interval."""
    first, density = grid
    begin = since + float(first / np.expm1(1 / density))
    steps = jnp.maximum(jnp.ceil(density * jnp.log1p(dt / begin) - 1e-6), 1.0)
    ratio = jnp.log1p(dt / begin) / steps
    fraction = begin * jnp.exp(here.count.astype(dt.dtype) * ratio) * jnp.expm1(ratio) / jnp.where(dt > 0, dt, 1.0)
    return jnp.where(here.count + 1 >= steps, 1.0 - here.done, jnp.minimum(fraction, 1.0 - here.done))


def _once(march: March, here: _Here, atol, rate, dt, p, since) -> tuple[_Here, jax.Array]:
    """One step of every patient's own, taken or refused; and the fraction of the interval that was passed."""
    fraction = _own_fraction(here, dt) if march.grid is None else _grid_fraction(march.grid, here, dt, since)
    fraction = lax.stop_gradient(jnp.where(_marching(here), fraction, 0.0))
    x, gained, error = take_step(march.field, march.tableau, here.x, fraction * dt, rate, p, march.integrals)
    scale = atol + march.rtol * jnp.maximum(jnp.abs(here.x), jnp.abs(x))
    size = lax.stop_gradient(jnp.sqrt(jnp.mean((error / scale) ** 2, axis=0)))
    size = jnp.where(jnp.isfinite(size), size, 1e10)
    # Below zero a saturable law is another one (VM·c/(KM + c) takes at full speed again): to step across is no step.
    crossed = (x < -atol) & (here.x >= -atol)
    size = jnp.where(crossed[march.field.bent_in].any(axis=0), jnp.maximum(size, 1e3), size)
    active = fraction > 0
    good = size <= 1
    taken = active if march.grid is not None else active & good
    passed = jnp.where(taken, fraction, 0.0)
    done = jnp.where(taken & (fraction >= 1.0 - here.done), 1.0, here.done + passed)
    length, code = here.length, here.code
    if march.grid is None:
        factor = jnp.clip(0.9 * (size + 1e-12) ** (-1.0 / march.tableau.order), 0.2, 6.0)
        length = jnp.where(active, fraction * lax.stop_gradient(dt) * factor, here.length)
        # A step cut short by the interval's end says nothing against the longer one that was intended.
        length = jnp.where(taken, jnp.maximum(length, jnp.where(factor >= 1, here.length, 0.0)), length)
        stuck = active & ~taken & (fraction < _LEAST)
        late = here.count + 1 >= march.max_steps
        code = code | cast(jnp.where(stuck | (late & (done < 1)), ResultCode.GAVE_UP, 0))
    else:
        code = code | cast(jnp.where(active & ~good, ResultCode.INACCURATE, 0))
    integral = None
    if here.integral is not None and gained is not None:
        integral = here.integral + jnp.where(taken, gained, 0.0)
    return _Here(jnp.where(taken, x, here.x), integral, done, length, code, here.count + 1), passed


def _to_stop(march: March, x, rate, dt, p, memory: _Memory) -> _Here:
    atol = lax.stop_gradient(march.atol * _present(march, x, rate, dt))

    def again(here: _Here) -> _Here:
        return _once(march, here, atol, rate, dt, p, memory.since)[0]

    return lax.while_loop(lambda here: jnp.any(_marching(here)), again, _start(march, x, dt, memory))


def cross_window(march: March, x, rate, stops, p, memory: _Memory):
    """Amounts at the stops (M, n, N), their integrals or None, codes (N,), memory. Differentiable by jvp, to any order."""

    def on(state, dt):
        x, memory = state
        end = _to_stop(march, x, rate, dt, p, memory)
        return (end.x, _Memory(end.length, memory.since + dt)), (end.x, end.integral, end.code)

    (_, memory), (amounts, gained, code) = lax.scan(on, (x, memory), _gaps(stops))
    integrals = None if gained is None else jnp.cumsum(gained, axis=0)
    return amounts, integrals, lax.reduce_or(code, (0,)), memory


def _gaps(stops: jax.Array) -> jax.Array:
    return jnp.diff(stops, axis=0, prepend=jnp.zeros_like(stops[:1]))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def cross_window_reversibly(march: March, x, rate, stops, p, memory: _Memory):
    """The same, differentiable by vjp."""
    return cross_window(march, x, rate, stops, p, memory)


def _forward(march: March, x, rate, stops, p, memory):
    return cross_window(march, x, rate, stops, p, memory), (x, rate, stops, p, memory)


def _backward(march: March, kept, cotangents):
    """Through the window again, recording; then back through the recorded steps."""
    x, rate, stops, p, memory = kept
    of_amounts, of_integrals, _, _ = cotangents
    gaps, room = _gaps(stops), march.room
    record = (jnp.zeros((room, *x.shape), x.dtype), jnp.zeros((room, *stops.shape[1:]), x.dtype))

    def to_stop(state, dt):
        x, memory, at, record = state
        atol = march.atol * _present(march, x, rate, dt)

        def again(carry):
            here, (states, fractions), at = carry
            there, passed = _once(march, here, atol, rate, dt, p, memory.since)
            states = lax.dynamic_update_index_in_dim(states, here.x, at, 0)
            return there, (states, lax.dynamic_update_index_in_dim(fractions, passed, at, 0)), at + 1

        def on(carry):
            return jnp.any(_marching(carry[0])) & (carry[2] < room)

        end, record, at = lax.while_loop(on, again, (_start(march, x, dt, memory), record, at))
        lost = jnp.any(_marching(end))
        return (end.x, _Memory(end.length, memory.since + dt), at, record), (at, lost)

    (_, _, _, (states, fractions)), (ends, lost) = lax.scan(to_stop, (x, memory, jnp.zeros((), int), record), gaps)
    begins = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    of_gains = None if of_integrals is None else jnp.cumsum(of_integrals[::-1], axis=0)[::-1]

    def back_to(bars, at):
        dt, of_x, of_gain, begin, end = at
        bar_x, bar_rate, bar_p = bars

        def back(carry):
            i, bar_x, bar_rate, bar_p, bar_dt = carry
            dx, dh, drate, dp = pull_step(
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


cross_window_reversibly.defvjp(_forward, _backward)


def cross_compiled(march: March, cross, x, rate, stops, p, memory: _Memory):
    """The same by a kernel, from stops (M, N or 1) and what `_reminded` gives; differentiable by vjp, or by jvp with
    `cross_along`."""
    found = cross(_method(march), x, rate, stops, p, memory)
    since = lax.stop_gradient(memory.since + stops[-1])
    return found.amounts, found.integrals, found.code, _Memory(found.length, since)


def _method(march: March) -> Method:
    """What a kernel is told of it."""
    names = ("field", "tableau", "rtol", "atol", "max_steps", "integrals", "grid", "room")
    return Method(*(getattr(march, name) for name in names))
