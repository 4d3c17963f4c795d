"""Events as one scan: advance to the next event, apply it, go on. Every solver stands on this.

The program is one step long whatever the number of events. All patients take their k-th event, or window of events
(windows.py), together; a patient with fewer has padding, over which nothing moves. What the timeline does not hold
(infusions, voids, steady states, lags) is not traced. A solver that can do all of it in one call does (compiled_solution.py).

This scan is the portable engine's. The same event semantics are written a second time on operands, for machine code
(pbpk.compile.programs.events).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pbpk.results import ResultCode
from pbpk.solve.base import Readings, as_code
from pbpk.solve.dose_in_effect import evaluate_doses
from pbpk.solve.event_kinds import BOLUS, END, RECORD, START, VOID
from pbpk.solve.interval import Advance, Interval
from pbpk.solve.schedule import CompiledSchedule, Schedule, ScheduleResult, SegmentEvents, sum_readings
from pbpk.solve.steady import SteadyState, find_steady_states
from pbpk.solve.timeline import Timeline, settle_order

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.windows import Windows


@dataclass(frozen=True)
class SegmentSolver:
    """How a solver gets from event to event.

    `advance` crosses one interval; `forward_advance` does the same where `advance` itself cannot be differentiated by jvp,
    which steady states need. `parameter_rows` is any pytree of arrays with the axis of parameter rows first and patients
    last: what `advance` needs of the parameters, of which each interval gets the row in force.

    With `windows` of the timeline the solver takes the stops of each at once. `step_memory` is its first one. `unroll` is how
    many intervals the scan writes out one after another: more is faster where an interval is little program. Patients who
    are not `solvable` (N,) have no numbers. `compiled` does all of it in one call, where parameters do not change on the way.
    """

    advance: Advance
    parameter_rows: Any
    forward_advance: Advance | None = None
    windows: Windows | None = None
    step_memory: Any = None
    unroll: int = 1
    solvable: jax.Array | None = None
    compiled: CompiledSchedule | None = None


def run_segments(
    system: System,
    timeline: Timeline,
    p: jax.Array,
    solver: SegmentSolver,
    *,
    integrals: bool = False,
    readings: Readings = (),
) -> ScheduleResult:
    """The solution of all patients of `timeline` under parameters p (C, m, N), by a solver that crosses intervals.

    Amounts, or `readings` of them, their integrals if asked for, and result codes. Integrals run from the patient's first
    event, through resets.
    """
    patients = max(timeline.patients, p.shape[-1])
    forward = solver.forward_advance or solver.advance
    steady = None
    if timeline.steady is not None:
        steady = find_steady_states(system, timeline, p, patients, solver.parameter_rows, solver.advance, forward)
    if p.shape[0] != 1:  # parameters change at records: no interval may reach beyond one
        solver = replace(solver, windows=None)
    schedule, invalid = build_schedule(system, timeline, p, patients, solver, steady, integrals)
    if solver.compiled is not None and _is_one_call_enough(schedule):
        scan, scan_forward = (partial(_solve_by_scan, a, integrals, solver.unroll) for a in (solver.advance, forward))
        per_patient = not _shares_one_timeline(timeline, solver.windows)
        result = solver.compiled(schedule, scan, scan_forward, per_patient)
    else:
        result = sum_readings(_solve_by_scan(solver.advance, integrals, solver.unroll, schedule), readings)
    code = result.code
    if invalid is not None:
        code = code | as_code(jnp.where(invalid.any(axis=0), ResultCode.BAD_DOSE, 0))
    return result._replace(code=code if steady is None else code | steady.code)


def _is_one_call_enough(schedule: Schedule) -> bool:
    """Whether machine code may do all of it."""
    return _has_constant_parameters(schedule)


def _has_constant_parameters(schedule: Schedule) -> bool:
    """Whether parameters do not change on the way."""
    return all(a.shape[0] == 1 for a in jax.tree.leaves(schedule.parameter_rows))


def _shares_one_timeline(timeline: Timeline, windows: Windows | None) -> bool:
    """Whether all patients have the same events at the same times."""
    shared = all(a.shape[-1] == 1 for a in (timeline.time, timeline.kind, timeline.compartment, timeline.output_index))
    return shared and windows is not None and windows.closing_event.shape[-1] == 1 and timeline.steady is None


def build_schedule(
    system: System,
    timeline: Timeline,
    p: jax.Array,
    patients: int,
    solver: SegmentSolver,
    steady: SteadyState | None = None,
    integrals: bool = False,
) -> tuple[Schedule, jax.Array | None]:
    """The timeline's events in order, as a solver crosses them; and where a modelled rate or duration is no number, (E, N)
    or None."""
    windows = solver.windows
    events, order, invalid = _evaluate_events(system, timeline, p, patients, steady)
    permutation = None
    if timeline.has_moving_events:
        assert order.rank is not None
        permutation = jnp.lexsort((order.rank, order.time, order.epoch), axis=0)
        unsorted = events, order._replace(rank=None)
        events, order = jax.tree.map(lambda a: jnp.take_along_axis(a, permutation, axis=0), unsorted)
    events = replace(events, row=_find_rows_in_force(events.row, order.is_record, timeline.between))
    stops, restart, place = _measure_intervals(timeline, events, order, windows, integrals)
    # Times are compared in float64; what the solver computes with has the precision of p.
    events, stops = jax.tree.map(lambda a: a.astype(p.dtype) if a.dtype == jnp.float64 else a, (events, stops))
    if windows is None:
        initial, closing = 1, jax.tree.map(lambda a: a[1:], events)
    else:
        index = jnp.broadcast_to(windows.closing_event, (windows.closing_event.shape[0], patients))
        closing = jax.tree.map(lambda a: jnp.take_along_axis(a, index, axis=0), events)
        initial = windows.initial_events
    n = len(system.names)
    reset_state = jnp.broadcast_to(system.initial(p[0]), (n, patients))
    if solver.solvable is not None:
        reset_state = jnp.where(solver.solvable, reset_state, jnp.nan)
    x, inflow, states = reset_state, jnp.zeros((n, patients), p.dtype) if timeline.has_infusions else None, []
    for k in range(initial):
        x, inflow = apply_event(x, inflow, jax.tree.map(lambda a: a[k], events), reset_state, steady)  # noqa: B023
        states.append(x)
    output_index = _place_outputs(timeline, permutation, place, patients)
    if windows is not None:
        states, output_index = states[windows.unobserved_initial :], output_index - windows.unobserved_initial
    schedule = Schedule(
        initial_states=jnp.stack(states),
        inflow=inflow,
        reset_state=reset_state,
        stops=stops,
        restart=restart,
        events=closing,
        parameter_rows=solver.parameter_rows,
        step_memory=solver.step_memory,
        steady=steady,
        output_index=output_index,
        output_mask=jnp.asarray(timeline.output_mask),
    )
    return schedule, invalid


def apply_event(
    x: jax.Array, inflow: jax.Array | None, event: SegmentEvents, reset_state: jax.Array, steady: SteadyState | None
) -> tuple[jax.Array, jax.Array | None]:
    """Amounts and inflows (n, N) after an event: a reset, the bolus, the void, a steady state's amounts, in this order."""
    slot, record = jnp.arange(len(x))[:, None], event.steady_record
    if event.reset is not None:  # SS = 1 begins at its own level
        level = reset_state if record is None else jnp.where(record > 0, 0.0, reset_state)
        x = jnp.where(event.reset, level, x)
    into = slot == event.compartment
    x = x + into * event.jump
    if event.target is not None:
        assert event.void_fraction is not None
        voided = jnp.sum(into * x, axis=0) * event.void_fraction
        x = x + (1.0 * (slot == event.target) - into) * voided
    if steady is not None:
        assert record is not None
        amounts = jnp.take_along_axis(steady.amounts, jnp.maximum(record - 1, 0)[None, None, :], axis=0)[0]
        x = x + jnp.where(record > 0, amounts, 0.0)
    if inflow is not None:
        assert event.inflow_change is not None
        inflow = jnp.where(event.reset, 0.0, inflow) if event.reset is not None else inflow
        inflow = inflow + into * event.inflow_change
    return x, inflow


def _solve_by_scan(advance: Advance, integrals: bool, unroll: int, schedule: Schedule) -> ScheduleResult:
    """The solution, window after window; all amounts."""
    n, patients = schedule.reset_state.shape
    lane = jnp.arange(patients)
    constant = _has_constant_parameters(schedule)

    def step(carry, window):
        x, inflow, total, code, memory = carry
        event, stops, restart = window
        parameters = jax.tree.map(
            lambda a: a[0] if constant else jnp.moveaxis(a[event.row, ..., lane], 0, -1), schedule.parameter_rows
        )
        crossed = advance(x, Interval(stops, inflow, parameters, restart, memory))
        x, inflow = apply_event(crossed.amounts[-1], inflow, event, schedule.reset_state, schedule.steady)
        amounts, totals = jnp.concatenate([crossed.amounts[:-1], x[None]]), None
        if total is not None:
            assert crossed.integrals is not None
            totals = total + crossed.integrals
            total = totals[-1]
        return (x, inflow, total, code | crossed.code, crossed.step_memory), (amounts, totals)

    total = jnp.zeros_like(schedule.reset_state) if integrals else None
    no_code = jnp.zeros(patients, jnp.int32)
    start = (schedule.initial_states[-1], schedule.inflow, total, no_code, schedule.step_memory)
    windows = (schedule.events, schedule.stops, schedule.restart)
    (_, _, _, code, _), (amounts, totals) = lax.scan(step, start, windows, unroll=unroll)

    def take_outputs(initial, later):
        states = jnp.concatenate([initial, later.reshape(-1, n, patients)])
        if (
            schedule.output_index.shape[-1] == 1
        ):  # the same rows for all patients: copied, not gathered number by number
            return states[schedule.output_index[:, 0]]
        return jnp.take_along_axis(states, schedule.output_index[:, None, :], axis=0)

    areas = None if totals is None else take_outputs(jnp.zeros_like(schedule.initial_states), totals)
    amounts = take_outputs(schedule.initial_states, amounts)
    finite = jnp.all(jnp.isfinite(amounts) | ~schedule.output_mask[:, None, :], axis=(0, 1))
    return ScheduleResult(amounts, areas, code | as_code(jnp.where(finite, 0, ResultCode.NOT_FINITE)))


def _widen(a: jax.Array, patients: int) -> jax.Array:
    return jnp.broadcast_to(a, (a.shape[0], patients))


def _place_outputs(
    timeline: Timeline, permutation: jax.Array | None, place: jax.Array | None, patients: int
) -> jax.Array:
    """Where each observation (T, N or 1) is among the first events and all stops."""
    output_index = jnp.asarray(timeline.output_index)
    if permutation is not None:
        output_index = jnp.take_along_axis(jnp.argsort(permutation, axis=0), _widen(output_index, patients), axis=0)
    if place is not None:
        width = max(output_index.shape[-1], place.shape[-1])
        output_index = jnp.take_along_axis(_widen(place, width), _widen(output_index, width), axis=0)
    return output_index


class _EventOrder(NamedTuple):
    """What decides the order of events (E, N); `rank` is None where they stand in order already."""

    time: jax.Array
    epoch: jax.Array
    is_record: jax.Array
    rank: jax.Array | None = None


def _measure_intervals(
    timeline: Timeline, events: SegmentEvents, order: _EventOrder, windows: Windows | None, integrals: bool
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """(stops (G, M, N or 1), restart (G, N), each event's place among the first events and all stops, or None where it is its
    own).

    Stops are 1 wide where all patients share them: solvers then share what depends on time alone.
    """
    time, epoch = order.time, order.epoch
    if not timeline.has_moving_events:
        time, epoch = jnp.asarray(timeline.time, float), jnp.asarray(timeline.epoch)
    if windows is None:
        stops, before = jnp.arange(1, len(time))[:, None, None], jnp.arange(len(time) - 1)[:, None]
        effects = (events.reset, events.jump, events.inflow_change, events.void_fraction, events.steady_record)
        changing = [effect != 0 for effect in effects if effect is not None]
        restart = jnp.stack(changing).any(axis=0)[:-1].at[0].set(True)
        place = None
    else:
        stops, restart, place = windows.stop_events, jnp.asarray(windows.restart), jnp.asarray(windows.place_of_event)
        restart = jnp.broadcast_to(restart, (len(restart), order.time.shape[1]))
        last_initial = jnp.full_like(windows.closing_event[:1], windows.initial_events - 1)
        before = jnp.concatenate([last_initial, windows.closing_event[:-1]])
    lanes = jnp.arange(time.shape[1])
    stops, before = jnp.broadcast_to(stops, (*stops.shape[:2], len(lanes))), before[:, None, :]
    gap = jnp.maximum(time[stops, lanes] - time[before, lanes], 0.0)  # a clock may start anew at a reset
    if not integrals:  # what leads up to a reset is of no consequence then
        gap = jnp.where(epoch[stops, lanes] == epoch[before, lanes], gap, 0.0)
    return gap, restart, place


def _evaluate_events(
    system: System, timeline: Timeline, p: jax.Array, patients: int, steady: SteadyState | None
) -> tuple[SegmentEvents, _EventOrder, jax.Array | None]:
    """What each event (E, N) does and when, under the parameters; and where a modelled rate or duration is no number.

    The events' `row` is still that of their own record.
    """

    def wide(a) -> jax.Array:
        return jnp.broadcast_to(a, (timeline.time.shape[0], patients))

    kind, time, rank = wide(timeline.kind), wide(timeline.time), None
    dose = evaluate_doses(system, p, timeline, kind.shape, timeline.has_modelled_rates)
    is_dose = (kind == BOLUS) | (kind == START) | (kind == END)
    is_record = kind == RECORD
    if timeline.has_moving_events:
        assert timeline.since is not None and timeline.until is not None
        time = time + jnp.where(is_dose, dose.lag, 0.0) + jnp.where(kind == END, dose.duration, 0.0)
        time, rank, kind = settle_order(
            jnp, time, wide(timeline.since), wide(timeline.until), wide(timeline.rank), kind
        )
    steady_record, takes_place = None, 1.0
    if timeline.steady is not None and steady is not None:
        record_of_dose, back = wide(timeline.steady.record), wide(timeline.steady.intervals_back)
        record = jnp.maximum(record_of_dose - 1, 0)
        pending = jnp.where(
            kind == END,
            back < jnp.take_along_axis(steady.ending, record, axis=0),
            back <= jnp.take_along_axis(steady.waiting, record, axis=0),
        )
        takes_place = jnp.where((back == 0) | pending, 1.0, 0.0)
        steady_record = jnp.where(kind == RECORD, record_of_dose, 0)
    inflow_change = None
    if timeline.has_infusions:
        sign = jnp.where(kind == START, 1.0, 0.0) - jnp.where(kind == END, 1.0, 0.0)
        inflow_change = takes_place * sign * dose.rate
        if steady is not None:
            assert steady_record is not None
            running = jnp.take_along_axis(steady.infusion_rate, jnp.maximum(steady_record - 1, 0), axis=0)
            inflow_change = inflow_change + jnp.where(steady_record > 0, running, 0.0)
    voids = timeline.target is not None
    events = SegmentEvents(
        row=wide(timeline.row),
        compartment=wide(timeline.compartment),
        jump=takes_place * jnp.where(kind == BOLUS, dose.amount, 0.0),
        reset=wide(timeline.reset) if timeline.has_resets else None,
        inflow_change=inflow_change,
        steady_record=steady_record,
        target=wide(timeline.target) if voids else None,
        void_fraction=jnp.where(kind == VOID, wide(timeline.amount), 0.0) if voids else None,
    )
    order = _EventOrder(time, wide(timeline.epoch), is_record, rank)
    return events, order, None if dose.invalid is None else dose.invalid & is_dose


def _find_rows_in_force(row: jax.Array, is_record: jax.Array, between: str) -> jax.Array:
    """The parameters in force up to each event: the next record's, or the last one's before it. Rows only grow."""
    if between == "nocb":
        of_records = jnp.where(is_record, row, row.max(axis=0, keepdims=True))
        return lax.cummin(of_records, axis=0, reverse=True)
    passed = lax.cummax(jnp.where(is_record, row, 0), axis=0)
    return jnp.concatenate([jnp.zeros_like(passed[:1]), passed[:-1]])
