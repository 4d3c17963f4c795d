"""Events as one scan: advance to the next event, apply it, go on. Every solver stands on this.

The program is one step long whatever the number of events. All patients take their k-th event, or window of events
(windows.py), together; a patient with fewer has padding, over which nothing moves. What the timeline does not hold
(infusions, voids, steady states, lags) is not traced. A solver that can do all of it in one call does (compiled_solution.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from pbpk.results import ResultCode
from pbpk.solve.base import Readings, as_code
from pbpk.solve.dose_in_effect import DoseRecords, evaluate_doses
from pbpk.solve.events import BOLUS, END, RECORD, START, VOID
from pbpk.solve.interval import Advance, Interval
from pbpk.solve.schedule import Schedule, ScheduleResult, sum_readings
from pbpk.solve.steady import SteadyState, find_steady_states
from pbpk.solve.timeline import Timeline, settle_order

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.windows import Windows

Scan = Callable[[Schedule], ScheduleResult]
Whole = Callable[[Schedule, Scan, Scan, bool], ScheduleResult]
"""A solution in one call, from the same by scan, for vjp and for jvp, and whether patients have events of their own."""


def run_segments(
    system: System,
    timeline: Timeline,
    p: jax.Array,
    rows: Any,
    advance: Advance,
    *,
    integrals: bool = False,
    readings: Readings = (),
    forward: Advance | None = None,
    windows: Windows | None = None,
    memory: Any = None,
    together: int = 1,
    sane: jax.Array | None = None,
    whole: Whole | None = None,
) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """Amounts (T, n, N) at the observations, or `readings` of them (T, R, N), their integrals likewise if asked for, and
    result codes (N,).

    `rows` is any pytree of arrays with the axis of parameter rows first and patients last: what `advance` needs of the
    parameters, of which each step gets the row in force. Integrals run from the patient's first event, through resets.
    `forward` is the same advance where `advance` itself cannot be differentiated by jvp, which steady states need.
    `windows` of the timeline: the solver takes the stops of each at once; `memory` is its first one. `together`
    is how many intervals the scan writes out one after another: more is faster where an interval is little program.
    Patients who are not `sane` (N,) have no numbers. `whole` does all of it in one call, where parameters do not change on
    the way.
    """
    patients = max(timeline.patients, p.shape[-1])
    steady = None
    if timeline.steady is not None:
        steady = find_steady_states(system, timeline, p, patients, rows, advance, forward or advance)
    windows = windows if p.shape[0] == 1 else None
    legs, bad = build_schedule(system, timeline, p, patients, rows, steady, integrals, windows, memory, sane)
    if whole is not None and _is_one_call_enough(legs):
        scan, ahead = (partial(_solve_by_scan, a, integrals, together) for a in (advance, forward or advance))
        found = whole(legs, scan, ahead, not _shares_one_timeline(timeline, windows))
    else:
        found = sum_readings(_solve_by_scan(advance, integrals, together, legs), readings)
    code = found.code
    if bad is not None:
        code = code | as_code(jnp.where(bad.any(axis=0), ResultCode.BAD_DOSE, 0))
    return found.amounts, found.integrals, code if steady is None else code | steady.code


def _is_one_call_enough(legs: Schedule) -> bool:
    """Whether one call may do: parameters do not change on the way."""
    return all(a.shape[0] == 1 for a in jax.tree.leaves(legs.parameter_rows))


def _shares_one_timeline(timeline: Timeline, windows: Windows | None) -> bool:
    """Whether all patients have the same events at the same times."""
    shared = all(a.shape[-1] == 1 for a in (timeline.time, timeline.kind, timeline.compartment, timeline.output_index))
    return shared and windows is not None and windows.closing_event.shape[-1] == 1 and timeline.steady is None


def build_schedule(
    system: System,
    timeline: Timeline,
    p: jax.Array,
    patients: int,
    rows: Any,
    steady: SteadyState | None,
    integrals: bool,
    windows: Windows | None,
    memory: Any,
    sane: jax.Array | None,
) -> tuple[Schedule, jax.Array | None]:
    """And where a modelled rate or duration is no number."""
    what, bad = _evaluate_events(system, timeline, p, patients, steady)
    permutation = None
    if timeline.has_moving_events:
        permutation = jnp.lexsort((what.pop("rank"), what["time"], what["epoch"]), axis=0)
        what = {k: jnp.take_along_axis(v, permutation, axis=0) for k, v in what.items()}
    what["row"] = _find_rows_in_force(what["row"], what.pop("record"), timeline.between)
    (stops, fresh), place = _measure_intervals(timeline, what, windows, integrals)
    what = {k: v for k, v in what.items() if k not in ("time", "epoch")}
    # Times are told apart in float64; what the solver computes with has the precision of p.
    what, stops = jax.tree.map(lambda a: a.astype(p.dtype) if a.dtype == jnp.float64 else a, (what, stops))
    if windows is None:
        count, after = 1, jax.tree.map(lambda a: a[1:], what)
    else:
        closing = jnp.broadcast_to(windows.closing_event, (windows.closing_event.shape[0], patients))
        count, after = windows.initial_events, jax.tree.map(lambda a: jnp.take_along_axis(a, closing, axis=0), what)
    n = len(system.names)
    begin = jnp.broadcast_to(system.initial(p[0]), (n, patients))
    if sane is not None:
        begin = jnp.where(sane, begin, jnp.nan)
    x, rate, firsts = begin, jnp.zeros((n, patients), p.dtype) if timeline.has_infusions else None, []
    for k in range(count):
        x, rate = apply_event(x, rate, jax.tree.map(lambda a: a[k], what), begin, steady)  # noqa: B023
        firsts.append(x)
    at = jnp.asarray(timeline.output_index)
    if permutation is not None:
        at = jnp.take_along_axis(jnp.argsort(permutation, axis=0), _widen(at, patients), axis=0)
    if place is not None:
        wanted = max(at.shape[-1], place.shape[-1])
        at = jnp.take_along_axis(_widen(place, wanted), _widen(at, wanted), axis=0)
    if windows is not None:
        firsts, at = firsts[windows.unobserved_initial :], at - windows.unobserved_initial
    seen = jnp.asarray(timeline.output_mask)
    return Schedule(jnp.stack(firsts), rate, begin, stops, fresh, after, rows, memory, steady, at, seen), bad


def apply_event(x, rate, event, begin, steady: SteadyState | None):
    """Amounts and inflows (n, N) after an event."""
    slot = jnp.arange(len(x))[:, None]
    if "reset" in event:  # SS = 1 begins at its own level
        anew = begin if steady is None else jnp.where(event["steady"] > 0, 0.0, begin)
        x = jnp.where(event["reset"], anew, x)
    into = slot == event["compartment"]
    x = x + into * event["jump"]
    if "target" in event:
        gone = jnp.sum(into * x, axis=0) * event["share"]
        x = x + (1.0 * (slot == event["target"]) - into) * gone
    if steady is not None:
        of = event["steady"]
        reached = jnp.take_along_axis(steady.amounts, jnp.maximum(of - 1, 0)[None, None, :], axis=0)[0]
        x = x + jnp.where(of > 0, reached, 0.0)
    if rate is not None:
        rate = jnp.where(event["reset"], 0.0, rate) if "reset" in event else rate
        rate = rate + into * event["change"]
    return x, rate


def _solve_by_scan(advance: Advance, integrals: bool, together: int, legs: Schedule) -> ScheduleResult:
    n, patients = legs.reset_state.shape
    lane = jnp.arange(patients)
    constant = all(a.shape[0] == 1 for a in jax.tree.leaves(legs.parameter_rows))

    def step(carry, through):
        x, rate, total, code, memory = carry
        event, stops, fresh = through
        here = jax.tree.map(lambda a: a[0] if constant else jnp.moveaxis(a[event["row"], ..., lane], 0, -1), legs.parameter_rows)
        crossed = advance(x, Interval(stops, rate, here, fresh, memory))
        x, rate = apply_event(crossed.amounts[-1], rate, event, legs.reset_state, legs.steady)
        seen, totals = jnp.concatenate([crossed.amounts[:-1], x[None]]), None
        if total is not None:
            assert crossed.integrals is not None
            totals = total + crossed.integrals
            total = totals[-1]
        return (x, rate, total, code | crossed.code, crossed.step_memory), (seen, totals)

    total = jnp.zeros_like(legs.reset_state) if integrals else None
    start = (legs.initial_states[-1], legs.inflow, total, jnp.zeros(patients, jnp.int32), legs.step_memory)
    through = (legs.events, legs.stops, legs.restart)
    (_, _, _, code, _), (seen, totals) = lax.scan(step, start, through, unroll=together)

    def look(first, later):
        every = jnp.concatenate([first, later.reshape(-1, n, patients)])
        if legs.output_index.shape[-1] == 1:  # the same rows for all patients: copied, not gathered number by number
            return every[legs.output_index[:, 0]]
        return jnp.take_along_axis(every, legs.output_index[:, None, :], axis=0)

    areas = None if totals is None else look(jnp.zeros_like(legs.initial_states), totals)
    amounts = look(legs.initial_states, seen)
    finite = jnp.all(jnp.isfinite(amounts) | ~legs.output_mask[:, None, :], axis=(0, 1))
    return ScheduleResult(amounts, areas, code | as_code(jnp.where(finite, 0, ResultCode.NOT_FINITE)))


def _widen(a: jax.Array, patients: int) -> jax.Array:
    return jnp.broadcast_to(a, (a.shape[0], patients))


def _measure_intervals(timeline: Timeline, what: dict[str, jax.Array], windows: Windows | None, integrals: bool):
    """(stops (G, M, N or 1), fresh (G, N)), and each event's place among the first event and all stops, if not its own.

    Stops are 1 wide where all patients share them: solvers then share what depends on time alone.
    """
    time, epoch = what["time"], what["epoch"]
    if not timeline.has_moving_events:
        time, epoch = jnp.asarray(timeline.time, float), jnp.asarray(timeline.epoch)
    if windows is None:
        stops, before = jnp.arange(1, len(time))[:, None, None], jnp.arange(len(time) - 1)[:, None]
        changing = [what[k] != 0 for k in ("reset", "jump", "change", "share", "steady") if k in what]
        fresh = jnp.stack(changing).any(axis=0)[:-1].at[0].set(True)
        place = None
    else:
        stops, fresh, place = windows.stop_events, jnp.asarray(windows.restart), jnp.asarray(windows.place_of_event)
        fresh = jnp.broadcast_to(fresh, (len(fresh), what["time"].shape[1]))
        at_first = jnp.full_like(windows.closing_event[:1], windows.initial_events - 1)
        before = jnp.concatenate([at_first, windows.closing_event[:-1]])
    lanes = jnp.arange(time.shape[1])
    stops, before = jnp.broadcast_to(stops, (*stops.shape[:2], len(lanes))), before[:, None, :]
    gap = jnp.maximum(time[stops, lanes] - time[before, lanes], 0.0)  # a clock may start anew at a reset
    if not integrals:  # what leads up to a reset is of no consequence then
        gap = jnp.where(epoch[stops, lanes] == epoch[before, lanes], gap, 0.0)
    return (gap, fresh), place


def _evaluate_events(
    system: System, timeline: Timeline, p: jax.Array, patients: int, steady: SteadyState | None
) -> tuple[dict[str, jax.Array], jax.Array | None]:
    """What each event (E, N) does and when, under the parameters; and where a modelled rate or duration is no number."""

    def wide(a) -> jax.Array:
        return jnp.broadcast_to(a, (timeline.time.shape[0], patients))

    kind, time = wide(timeline.kind), wide(timeline.time)
    given = DoseRecords(*(wide(getattr(timeline, name)) for name in DoseRecords._fields))
    dose = evaluate_doses(system, p, given, timeline.has_modelled_rates)
    dosing = (kind == BOLUS) | (kind == START) | (kind == END)
    out = {"row": given.row, "record": kind == RECORD, "compartment": given.compartment}
    out |= {"epoch": wide(timeline.epoch)} | ({"reset": wide(timeline.reset)} if timeline.has_resets else {})
    if timeline.has_moving_events:
        assert timeline.since is not None and timeline.until is not None
        time = time + jnp.where(dosing, dose.lag, 0.0) + jnp.where(kind == END, dose.duration, 0.0)
        time, out["rank"], kind = settle_order(
            jnp, time, wide(timeline.since), wide(timeline.until), wide(timeline.rank), kind
        )
    out["time"] = time
    here = 1.0
    if timeline.steady is not None and steady is not None:
        of, back = wide(timeline.steady.record), wide(timeline.steady.intervals_back)
        record = jnp.maximum(of - 1, 0)
        pending = jnp.where(
            kind == END,
            back < jnp.take_along_axis(steady.ending, record, axis=0),
            back <= jnp.take_along_axis(steady.waiting, record, axis=0),
        )
        here = jnp.where((back == 0) | pending, 1.0, 0.0)
        out["steady"] = jnp.where(kind == RECORD, of, 0)
    out["jump"] = here * jnp.where(kind == BOLUS, dose.amount, 0.0)
    if timeline.has_infusions:
        started = jnp.where(kind == START, 1.0, 0.0) - jnp.where(kind == END, 1.0, 0.0)
        out["change"] = here * started * dose.rate
        if steady is not None:
            running = jnp.take_along_axis(steady.infusion_rate, jnp.maximum(out["steady"] - 1, 0), axis=0)
            out["change"] = out["change"] + jnp.where(out["steady"] > 0, running, 0.0)
    if timeline.target is not None:
        out |= {"target": wide(timeline.target), "share": jnp.where(kind == VOID, wide(timeline.amount), 0.0)}
    return out, None if dose.invalid is None else dose.invalid & dosing


def _find_rows_in_force(row: jax.Array, record: jax.Array, between: str) -> jax.Array:
    """The parameters in force up to each event: the next record's, or the last one's before it. Rows only grow."""
    if between == "nocb":
        own = jnp.where(record, row, row.max(axis=0, keepdims=True))
        return lax.cummin(own, axis=0, reverse=True)
    seen = lax.cummax(jnp.where(record, row, 0), axis=0)
    return jnp.concatenate([jnp.zeros_like(seen[:1]), seen[:-1]])
