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
from pbpk.solve.base import Readings, cast
from pbpk.solve.dose_in_effect import Given, effective
from pbpk.solve.events import BOLUS, END, RECORD, START, VOID
from pbpk.solve.interval import Advance, Interval
from pbpk.solve.schedule import Legs, Seen, read_seen
from pbpk.solve.steady import SteadyState, steady_states
from pbpk.solve.timeline import Timeline, settle

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.solve.windows import Windows

Scan = Callable[[Legs], Seen]
Whole = Callable[[Legs, Scan, Scan, bool], Seen]
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
        steady = steady_states(system, timeline, p, patients, rows, advance, forward or advance)
    windows = windows if p.shape[0] == 1 else None
    legs, bad = _legs(system, timeline, p, patients, rows, steady, integrals, windows, memory, sane)
    if whole is not None and _in_one(legs):
        scan, ahead = (partial(_by_scan, a, integrals, together) for a in (advance, forward or advance))
        found = whole(legs, scan, ahead, not _one_for_all(timeline, windows))
    else:
        found = read_seen(_by_scan(advance, integrals, together, legs), readings)
    code = found.code
    if bad is not None:
        code = code | cast(jnp.where(bad.any(axis=0), ResultCode.BAD_DOSE, 0))
    return found.amounts, found.integrals, code if steady is None else code | steady.code


def _in_one(legs: Legs) -> bool:
    """Whether one call may do: parameters do not change on the way."""
    return all(a.shape[0] == 1 for a in jax.tree.leaves(legs.rows))


def _one_for_all(timeline: Timeline, windows: Windows | None) -> bool:
    """Whether all patients have the same events at the same times."""
    shared = all(a.shape[-1] == 1 for a in (timeline.time, timeline.kind, timeline.compartment, timeline.at))
    return shared and windows is not None and windows.closing.shape[-1] == 1 and timeline.steady is None


def _legs(
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
) -> tuple[Legs, jax.Array | None]:
    """And where a modelled rate or duration is no number."""
    what, bad = _changes(system, timeline, p, patients, steady)
    permutation = None
    if timeline.moving:
        permutation = jnp.lexsort((what.pop("rank"), what["time"], what["epoch"]), axis=0)
        what = {k: jnp.take_along_axis(v, permutation, axis=0) for k, v in what.items()}
    what["row"] = _row_in_force(what["row"], what.pop("record"), timeline.between)
    (stops, fresh), place = _intervals(timeline, what, windows, integrals)
    what = {k: v for k, v in what.items() if k not in ("time", "epoch")}
    # Times are told apart in float64; what the solver computes with has the precision of p.
    what, stops = jax.tree.map(lambda a: a.astype(p.dtype) if a.dtype == jnp.float64 else a, (what, stops))
    if windows is None:
        count, after = 1, jax.tree.map(lambda a: a[1:], what)
    else:
        closing = jnp.broadcast_to(windows.closing, (windows.closing.shape[0], patients))
        count, after = windows.first, jax.tree.map(lambda a: jnp.take_along_axis(a, closing, axis=0), what)
    n = len(system.names)
    begin = jnp.broadcast_to(system.initial(p[0]), (n, patients))
    if sane is not None:
        begin = jnp.where(sane, begin, jnp.nan)
    x, rate, firsts = begin, jnp.zeros((n, patients), p.dtype) if timeline.infusing else None, []
    for k in range(count):
        x, rate = _happen(x, rate, jax.tree.map(lambda a: a[k], what), begin, steady)  # noqa: B023
        firsts.append(x)
    at = jnp.asarray(timeline.at)
    if permutation is not None:
        at = jnp.take_along_axis(jnp.argsort(permutation, axis=0), _wide(at, patients), axis=0)
    if place is not None:
        wanted = max(at.shape[-1], place.shape[-1])
        at = jnp.take_along_axis(_wide(place, wanted), _wide(at, wanted), axis=0)
    if windows is not None:
        firsts, at = firsts[windows.unseen :], at - windows.unseen
    seen = jnp.asarray(timeline.seen)
    return Legs(jnp.stack(firsts), rate, begin, stops, fresh, after, rows, memory, steady, at, seen), bad


def _happen(x, rate, event, begin, steady: SteadyState | None):
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


def _by_scan(advance: Advance, integrals: bool, together: int, legs: Legs) -> Seen:
    n, patients = legs.begin.shape
    lane = jnp.arange(patients)
    constant = all(a.shape[0] == 1 for a in jax.tree.leaves(legs.rows))

    def step(carry, through):
        x, rate, total, code, memory = carry
        event, stops, fresh = through
        here = jax.tree.map(lambda a: a[0] if constant else jnp.moveaxis(a[event["row"], ..., lane], 0, -1), legs.rows)
        crossed = advance(x, Interval(stops, rate, here, fresh, memory))
        x, rate = _happen(crossed.amounts[-1], rate, event, legs.begin, legs.steady)
        seen, totals = jnp.concatenate([crossed.amounts[:-1], x[None]]), None
        if total is not None:
            assert crossed.integrals is not None
            totals = total + crossed.integrals
            total = totals[-1]
        return (x, rate, total, code | crossed.code, crossed.memory), (seen, totals)

    total = jnp.zeros_like(legs.begin) if integrals else None
    start = (legs.firsts[-1], legs.inflow, total, jnp.zeros(patients, jnp.int32), legs.memory)
    through = (legs.events, legs.stops, legs.fresh)
    (_, _, _, code, _), (seen, totals) = lax.scan(step, start, through, unroll=together)

    def look(first, later):
        every = jnp.concatenate([first, later.reshape(-1, n, patients)])
        if legs.at.shape[-1] == 1:  # the same rows for all patients: copied, not gathered number by number
            return every[legs.at[:, 0]]
        return jnp.take_along_axis(every, legs.at[:, None, :], axis=0)

    areas = None if totals is None else look(jnp.zeros_like(legs.firsts), totals)
    amounts = look(legs.firsts, seen)
    finite = jnp.all(jnp.isfinite(amounts) | ~legs.seen[:, None, :], axis=(0, 1))
    return Seen(amounts, areas, code | cast(jnp.where(finite, 0, ResultCode.NOT_FINITE)))


def _wide(a: jax.Array, patients: int) -> jax.Array:
    return jnp.broadcast_to(a, (a.shape[0], patients))


def _intervals(timeline: Timeline, what: dict[str, jax.Array], windows: Windows | None, integrals: bool):
    """(stops (G, M, N or 1), fresh (G, N)), and each event's place among the first event and all stops, if not its own.

    Stops are 1 wide where all patients share them: solvers then share what depends on time alone.
    """
    time, epoch = what["time"], what["epoch"]
    if not timeline.moving:
        time, epoch = jnp.asarray(timeline.time, float), jnp.asarray(timeline.epoch)
    if windows is None:
        stops, before = jnp.arange(1, len(time))[:, None, None], jnp.arange(len(time) - 1)[:, None]
        changing = [what[k] != 0 for k in ("reset", "jump", "change", "share", "steady") if k in what]
        fresh = jnp.stack(changing).any(axis=0)[:-1].at[0].set(True)
        place = None
    else:
        stops, fresh, place = windows.stops, jnp.asarray(windows.fresh), jnp.asarray(windows.place)
        fresh = jnp.broadcast_to(fresh, (len(fresh), what["time"].shape[1]))
        at_first = jnp.full_like(windows.closing[:1], windows.first - 1)
        before = jnp.concatenate([at_first, windows.closing[:-1]])
    lanes = jnp.arange(time.shape[1])
    stops, before = jnp.broadcast_to(stops, (*stops.shape[:2], len(lanes))), before[:, None, :]
    gap = jnp.maximum(time[stops, lanes] - time[before, lanes], 0.0)  # a clock may start anew at a reset
    if not integrals:  # what leads up to a reset is of no consequence then
        gap = jnp.where(epoch[stops, lanes] == epoch[before, lanes], gap, 0.0)
    return (gap, fresh), place


def _changes(
    system: System, timeline: Timeline, p: jax.Array, patients: int, steady: SteadyState | None
) -> tuple[dict[str, jax.Array], jax.Array | None]:
    """What each event (E, N) does and when, under the parameters; and where a modelled rate or duration is no number."""

    def wide(a) -> jax.Array:
        return jnp.broadcast_to(a, (timeline.time.shape[0], patients))

    kind, time = wide(timeline.kind), wide(timeline.time)
    given = Given(*(wide(getattr(timeline, name)) for name in Given._fields))
    dose = effective(system, p, given, timeline.modelled)
    dosing = (kind == BOLUS) | (kind == START) | (kind == END)
    out = {"row": given.row, "record": kind == RECORD, "compartment": given.compartment}
    out |= {"epoch": wide(timeline.epoch)} | ({"reset": wide(timeline.reset)} if timeline.resetting else {})
    if timeline.moving:
        assert timeline.since is not None and timeline.until is not None
        time = time + jnp.where(dosing, dose.lag, 0.0) + jnp.where(kind == END, dose.length, 0.0)
        time, out["rank"], kind = settle(
            jnp, time, wide(timeline.since), wide(timeline.until), wide(timeline.rank), kind
        )
    out["time"] = time
    here = 1.0
    if timeline.steady is not None and steady is not None:
        of, back = wide(timeline.steady.of), wide(timeline.steady.back)
        record = jnp.maximum(of - 1, 0)
        pending = jnp.where(
            kind == END,
            back < jnp.take_along_axis(steady.ending, record, axis=0),
            back <= jnp.take_along_axis(steady.waiting, record, axis=0),
        )
        here = jnp.where((back == 0) | pending, 1.0, 0.0)
        out["steady"] = jnp.where(kind == RECORD, of, 0)
    out["jump"] = here * jnp.where(kind == BOLUS, dose.amount, 0.0)
    if timeline.infusing:
        started = jnp.where(kind == START, 1.0, 0.0) - jnp.where(kind == END, 1.0, 0.0)
        out["change"] = here * started * dose.speed
        if steady is not None:
            running = jnp.take_along_axis(steady.running, jnp.maximum(out["steady"] - 1, 0), axis=0)
            out["change"] = out["change"] + jnp.where(out["steady"] > 0, running, 0.0)
    if timeline.target is not None:
        out |= {"target": wide(timeline.target), "share": jnp.where(kind == VOID, wide(timeline.amount), 0.0)}
    return out, None if dose.bad is None else dose.bad & dosing


def _row_in_force(row: jax.Array, record: jax.Array, between: str) -> jax.Array:
    """The parameters in force up to each event: the next record's, or the last one's before it. Rows only grow."""
    if between == "nocb":
        own = jnp.where(record, row, row.max(axis=0, keepdims=True))
        return lax.cummin(own, axis=0, reverse=True)
    seen = lax.cummax(jnp.where(record, row, 0), axis=0)
    return jnp.concatenate([jnp.zeros_like(seen[:1]), seen[:-1]])
