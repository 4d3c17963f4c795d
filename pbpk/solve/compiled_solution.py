"""A whole solution by one call of machine code (pbpk.compile.programs.solution.forward).

The scan of segments.py does the same with a call for each window, and copies what each returns to where it belongs, which
costs as much as solving. It is what derivatives are taken of that the call has none for: those of times, and derivatives of
derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from pbpk.compile.programs.solution.kernel import NamedArrays, run_solution, run_solution_adjoint
from pbpk.compile.programs.solution.layout import SolutionLayout
from pbpk.compile.xla.opaque import opaque
from pbpk.results import ResultCode
from pbpk.solve.base import Readings, as_code
from pbpk.solve.schedule import Schedule, ScheduleResult, sum_readings

Scan = Callable[[Schedule], ScheduleResult]


class SegmentProgram(Protocol):
    """What a solver brings."""

    def build_segment(self, stops: int, fed: bool, readings: Readings) -> Any:
        """The program that crosses a window of so many stops, with a constant inflow or none; it may give the readings alone
        and the last amounts, where there are some."""
        ...

    @property
    def has_production(self) -> bool:
        """Whether something flows in under the parameters alone."""
        ...

    def segment_arguments(self, leg: Any, rows: Any, stops: jax.Array, patients: int) -> NamedArrays:
        """The leg's arguments from parameters and stops (G, M), and `base`, what always flows in, by name."""
        ...

    def result_codes(self, judged: jax.Array) -> jax.Array:
        """Result codes (N,) from what the legs' estimates of their errors were."""
        ...


class Differentiable(NamedTuple):
    """The part of `Legs` that the way back has cotangents of."""

    initial_states: jax.Array
    inflow: jax.Array | None
    reset_state: jax.Array
    jump: jax.Array
    change: jax.Array | None
    steady_amounts: jax.Array | None
    parameter_rows: Any


def in_one_call_forward(work: SegmentProgram, readings: Readings, legs: Schedule, _: Scan, scan_forward: Scan, own: bool) -> ScheduleResult:
    """The same, differentiable by jvp: by the scan then."""

    @jax.custom_jvp
    def solve(legs: Schedule) -> ScheduleResult:
        return _there(work, legs, own, keeps=False, readings=readings)[0]

    @partial(solve.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        return jvp(lambda legs: sum_readings(scan_forward(legs), readings), primals, tangents)

    return solve(legs)


def in_one_call(work: SegmentProgram, readings: Readings, legs: Schedule, scan: Scan, scan_forward: Scan, own: bool) -> ScheduleResult:
    """Differentiable by vjp, and by jvp of that. The scans do the same: `scan` for vjp and for jvp of that, `scan_forward`
    for jvp. Both give all amounts, of which derivatives are taken: only where there are none to take are `readings` alone
    computed. `own`: patients may have different events."""

    @jax.custom_jvp
    def there(legs: Schedule):
        return _there(work, legs, own, keeps=True)

    @partial(there.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        found, kept = there(*primals)
        onward = _along(scan_forward, primals, tangents)
        return (found, kept), (onward, jax.tree.map(jnp.zeros_like, kept))  # `back` has the derivatives of what is kept

    @jax.custom_jvp
    def back(legs: Schedule, kept: NamedArrays, bars: ScheduleResult):
        return _back(work, legs, own, kept, bars)

    @partial(back.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        (legs, kept, bars), (legs_moved, _, bars_moved) = primals, tangents

        def again(legs: Schedule, amounts: jax.Array, integrals: jax.Array | None):
            seen, pull = jax.vjp(lambda moved: scan(combine(legs, moved)), partition(legs))
            return pull(ScheduleResult(amounts, integrals, zero_cotangent(seen.code)))[0]

        return back(legs, kept, bars), _along(again, (legs, *bars[:2]), (legs_moved, *bars_moved[:2]))

    @jax.custom_vjp
    def solve(legs: Schedule) -> ScheduleResult:
        return _there(work, legs, own, keeps=False, readings=readings)[0]

    def forward(legs: Any):
        own = jax.tree.map(lambda leaf: leaf.value, legs)
        perturbed = jax.tree.map(lambda leaf: leaf.perturbed and jnp.issubdtype(leaf.value.dtype, jnp.floating), legs)
        others = combine(perturbed, jax.tree.map(lambda _: False, partition(perturbed)))
        if any(jax.tree.leaves(others)):
            found, pull = jax.vjp(lambda legs: sum_readings(scan(legs), readings), own)
            return found, (own, None, pull)
        found, kept = opaque(there)(own)
        return sum_readings(found, readings), (own, kept, None)

    def backward(residual, bars: ScheduleResult):
        legs, kept, pull = residual
        bars = jax.tree.map(_number, bars, is_leaf=lambda x: isinstance(x, SymbolicZero))
        if pull is not None:
            return pull(bars)
        amounts, integrals = (_spread_readings(bar, readings, len(legs.begin)) for bar in bars[:2])
        assert amounts is not None
        bars = ScheduleResult(amounts, integrals, jnp.zeros(legs.begin.shape[-1:]))
        return (combine(jax.tree.map(zero_cotangent, legs), opaque(back)(legs, kept, bars)),)

    solve.defvjp(forward, backward, symbolic_zeros=True)
    return solve(legs)


def _along(f: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    return jvp(f, primals, tangents)[1]


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """f and its derivative along tangents, of which those that JAX knows to be none are no derivatives at all."""
    leaves, tree = jax.tree.flatten(primals)
    moved = jax.tree.leaves(tangents, is_leaf=lambda x: isinstance(x, SymbolicZero))
    own = [k for k, tangent in enumerate(moved) if not isinstance(tangent, SymbolicZero)]

    def of(*values: jax.Array) -> Any:
        given = dict(zip(own, values, strict=True))
        return f(*jax.tree.unflatten(tree, [given.get(k, leaf) for k, leaf in enumerate(leaves)]))

    return jax.jvp(of, [leaves[k] for k in own], [moved[k] for k in own])


def _number(bar: Any) -> Any:
    if not isinstance(bar, SymbolicZero):
        return bar
    shape: Any = bar.shape
    kind: Any = bar.dtype
    return jnp.zeros(shape, kind) if jnp.issubdtype(kind, jnp.floating) else np.zeros(shape, jax.dtypes.float0)


def zero_cotangent(leaf: jax.Array) -> Any:
    """The cotangent of what has none."""
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        return jnp.zeros_like(leaf)
    return np.zeros(leaf.shape, jax.dtypes.float0)


def partition(legs: Schedule) -> Differentiable:
    events = legs.events
    reached = None if legs.steady is None else legs.steady.amounts
    return Differentiable(legs.initial_states, legs.inflow, legs.reset_state, events["jump"], events.get("change"), reached, legs.parameter_rows)


def combine(legs: Schedule, moved: Differentiable) -> Schedule:
    changed = {"jump": moved.jump, "change": moved.change}
    events = {k: changed.get(k, v) for k, v in legs.events.items()}
    own = {"firsts": moved.initial_states, "inflow": moved.inflow, "begin": moved.reset_state, "rows": moved.parameter_rows}
    steady = None if legs.steady is None else legs.steady._replace(amounts=moved.steady_amounts)
    return legs._replace(events=events, steady=steady, **own)


def _spread_readings(bar: jax.Array | None, readings: Readings, size: int) -> jax.Array | None:
    """The cotangents of all amounts from those of readings (T, R, N)."""
    if bar is None or not readings:
        return bar
    whole = jnp.zeros((len(bar), size, bar.shape[-1]))
    for r, members in enumerate(readings):
        whole = whole.at[:, np.array(members)].add(bar[:, r : r + 1])
    return whole


def _there(work: SegmentProgram, legs: Schedule, own: bool, *, keeps: bool, readings: Readings = ()) -> tuple[ScheduleResult, NamedArrays]:
    plan, given, covered = plan_solution(work, legs, own, readings)
    found = run_solution(plan, given, keeps=keeps)
    whole = (found["sound"][0] == 0) & covered
    code = work.result_codes(found["judged"]) | as_code(jnp.where(whole, 0, ResultCode.NOT_FINITE))
    kept = {b.name: found[b.name] for b in plan.residuals} if keeps else {}
    return ScheduleResult(found["amounts"], found.get("integral"), code), kept


def _back(work: SegmentProgram, legs: Schedule, own: bool, kept: NamedArrays, bars: ScheduleResult) -> Differentiable:
    plan, given, _ = plan_solution(work, legs, own)
    handed = {"of_amounts": bars.amounts} | ({} if bars.integrals is None else {"of_integral": bars.integrals})
    return collect_cotangents(work, legs, plan, run_solution_adjoint(plan, given | kept | handed))


def collect_cotangents(work: SegmentProgram, legs: Schedule, plan: SolutionLayout, found: NamedArrays) -> Differentiable:
    """What a program handed back, by name, as what it means for the legs."""
    patients = legs.reset_state.shape[-1]
    arrays, pull = jax.vjp(lambda rows: _own(plan, work.segment_arguments(plan.window, rows, _squeeze_stops(legs), patients)), legs.parameter_rows)
    (of_rows,) = pull({name: found[name] for name in arrays})
    inflow, change = found.get("inflow"), found.get("change")
    begin = found["anew_from"] if plan.has_reset else jnp.zeros_like(legs.reset_state)
    reached = None
    if legs.steady is not None:
        of = legs.events["steady"]
        (reached,) = jax.vjp(lambda amounts: _steady_amounts_at_events(amounts, of), legs.steady.amounts)[1](found["reached"])
    return Differentiable(found["firsts"], inflow, begin, found["jump"], change, reached, of_rows)


def _own(plan: SolutionLayout, arrays: NamedArrays) -> NamedArrays:
    """What is each patient's own of a leg's arguments."""
    names = {b.name for b in plan.window_parameters if not b.share} | ({"base"} if plan.inflow else set())
    return {name: a for name, a in arrays.items() if name in names}


def plan_solution(work: SegmentProgram, legs: Schedule, own: bool, readings: Readings = ()) -> tuple[SolutionLayout, NamedArrays, jax.Array]:
    """The plan, its arguments, and whether every observation is written by something: rows that were not are no numbers."""
    (g, m), patients = legs.stops.shape[:2], legs.reset_state.shape[-1]
    events, (k, _, _), rows = legs.events, legs.initial_states.shape, len(legs.output_index)
    infusing, steady = legs.inflow is not None, legs.steady
    leg = work.build_segment(m, infusing or work.has_production, readings)
    kinds = infusing, "target" in events, "reset" in events, steady is not None
    plan = SolutionLayout(leg, g, k, rows, *kinds, per_patient=own, readings=readings)
    given: NamedArrays = {"firsts": legs.initial_states, "jump": events["jump"]}
    covered = jnp.asarray(True)

    def which(name: str) -> jax.Array:
        return (events[name] if own else events[name][:, 0]).astype(float)

    given["into"], given["fresh"] = which("compartment"), (legs.restart if own else legs.restart[:, 0]).astype(float)
    if plan.has_reset:
        given |= {"anew": which("reset"), "anew_from": legs.reset_state}
    if steady is not None:
        given["reached"] = _steady_amounts_at_events(steady.amounts, events["steady"])
        if plan.has_reset:
            given["anew"] = jnp.where(events["steady"] > 0, 2.0, 1.0) * given["anew"]
    if legs.inflow is not None:
        given |= {"change": events["change"], "inflow": legs.inflow}
    if plan.has_void:
        given |= {"target": which("target"), "share": events["share"]}
    last = np.arange(m) == m - 1
    between = np.stack([np.where(last, 0.0, 1.0), np.where(last, 0, np.arange(1, m + 1))], axis=-1)
    row = jnp.zeros((g * m, 2))
    if own:
        given["look"] = jnp.broadcast_to(legs.output_index, (rows, patients)).astype(float)
    else:
        place, number = legs.output_index[:, 0], jnp.arange(rows)
        stop = jnp.where(place >= k, place - k, g * m)
        row = row.at[stop, 0].set(1.0, mode="drop").at[stop, 1].set(number, mode="drop")
        begun = jnp.stack([jnp.where(place < k, 1.0, 0.0), jnp.where(place < k, place, 0)], axis=-1)
        given["begun"], covered = begun, row[:, 0].sum() + begun[:, 0].sum() == rows
    given["row"] = jnp.concatenate([row.reshape(g, m, 2), jnp.broadcast_to(between, (g, m, 2))], axis=-1)
    return plan, given | work.segment_arguments(plan.window, legs.parameter_rows, _squeeze_stops(legs), patients), covered


def _squeeze_stops(legs: Schedule) -> jax.Array:
    """(G, M), or each patient's own (G, M, N)."""
    return legs.stops[..., 0] if legs.stops.shape[-1] == 1 else legs.stops


def _steady_amounts_at_events(amounts: jax.Array, of: jax.Array) -> jax.Array:
    """What steady-state records (S, n, N) add at each closing event (G, n, N); `of` (G, N) says which record, from 1."""
    found = jnp.take_along_axis(amounts, jnp.maximum(of - 1, 0)[:, None, :], axis=0)
    return jnp.where(of[:, None, :] > 0, found, 0.0)


def flag_inaccurate(error: jax.Array, tolerance: float) -> jax.Array:
    """The code (N,) of an error that was estimated."""
    return as_code(jnp.where(error > tolerance, ResultCode.INACCURATE, 0))
