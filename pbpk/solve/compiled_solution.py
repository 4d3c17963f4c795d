"""A whole solution by one call of machine code (pbpk.compile.programs.solution.forward).

The scan of segments.py does the same with a call for each window, and copies what each returns to where it belongs, which
costs as much as solving. Derivatives that the call has none for are taken of the scan (compiled_or_scan.py): those of times,
and derivatives of derivatives.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from pbpk.compile.programs.solution.kernel import NamedArrays, run_solution, run_solution_adjoint
from pbpk.compile.programs.solution.layout import InitialColumn, SolutionLayout, StopColumn
from pbpk.results import ResultCode
from pbpk.solve.base import Readings, as_code
from pbpk.solve.compiled_or_scan import CompiledOrScan, evaluate_for_jvp, evaluate_for_vjp
from pbpk.solve.schedule import Scan, Schedule, ScheduleResult, sum_readings


class SegmentProgram(Protocol):
    """What a solver brings to a whole solution: the program of one window, and its arguments."""

    def build_window(self, stops: int, has_inflow: bool, readings: Readings) -> Any:
        """The program that crosses a window of so many stops, with a constant inflow or none; it may give the readings alone
        and the last amounts, where there are some."""
        ...

    @property
    def has_production(self) -> bool:
        """Whether something flows in under the parameters alone."""
        ...

    def window_arguments(self, window: Any, rows: Any, stops: jax.Array, patients: int) -> NamedArrays:
        """The window's arguments from parameters and stops (G, M), and `production`, what always flows in, by name."""
        ...

    def result_codes(self, diagnostics: NamedArrays) -> jax.Array:
        """Result codes (N,) from what the windows' estimates of their errors were."""
        ...


class Differentiable(NamedTuple):
    """The part of a `Schedule` that the adjoint program has cotangents of."""

    initial_states: jax.Array
    inflow: jax.Array | None
    reset_state: jax.Array
    jump: jax.Array
    inflow_change: jax.Array | None
    steady_amounts: jax.Array | None
    parameter_rows: Any


def solve_compiled(
    program: SegmentProgram,
    readings: Readings,
    reverse: bool,
    schedule: Schedule,
    scan: Scan,
    scan_forward: Scan,
    per_patient: bool,
) -> ScheduleResult:
    """The solution by one call (`CompiledSchedule`), differentiable by vjp if `reverse`, else by jvp.

    Derivatives are taken of all amounts: only where there are none to take are the `readings` alone computed.
    """
    size = len(schedule.reset_state)
    function = CompiledOrScan(
        evaluate=lambda schedule: _run(program, schedule, per_patient, keeps=False, readings=readings)[0],
        record=partial(_run, program, per_patient=per_patient, keeps=True),
        adjoint=partial(_run_adjoint, program, per_patient),
        scan=scan,
        scan_forward=scan_forward,
        partition=partition,
        combine=combine,
        finish=lambda result: sum_readings(result, readings),
        finish_adjoint=lambda _, bars: tuple(_spread_readings(bar, readings, size) for bar in bars),
    )
    return (evaluate_for_vjp if reverse else evaluate_for_jvp)(function, schedule)


def partition(schedule: Schedule) -> Differentiable:
    """What of a schedule the adjoint program has cotangents of."""
    events, steady = schedule.events, schedule.steady
    return Differentiable(
        initial_states=schedule.initial_states,
        inflow=schedule.inflow,
        reset_state=schedule.reset_state,
        jump=events.jump,
        inflow_change=events.inflow_change,
        steady_amounts=None if steady is None else steady.amounts,
        parameter_rows=schedule.parameter_rows,
    )


def combine(schedule: Schedule, part: Differentiable) -> Schedule:
    """The schedule with `part` in the place of what `partition` takes."""
    return schedule._replace(
        initial_states=part.initial_states,
        inflow=part.inflow,
        reset_state=part.reset_state,
        events=replace(schedule.events, jump=part.jump, inflow_change=part.inflow_change),
        parameter_rows=part.parameter_rows,
        steady=None if schedule.steady is None else schedule.steady._replace(amounts=part.steady_amounts),
    )


def _run(
    program: SegmentProgram, schedule: Schedule, per_patient: bool, *, keeps: bool, readings: Readings = ()
) -> tuple[ScheduleResult, NamedArrays]:
    """The solution, and by name what the adjoint program needs of it if `keeps`."""
    layout, arguments, all_written = plan_solution(program, schedule, per_patient, readings)
    results = run_solution(layout, arguments, keep_residuals=keeps)
    good = (results["nonfinite"][0] == 0) & all_written
    code = program.result_codes(results) | as_code(jnp.where(good, 0, ResultCode.NOT_FINITE))
    residuals = {b.name: results[b.name] for b in layout.residuals} if keeps else {}
    return ScheduleResult(results["amounts"], results.get("integral"), code), residuals


def _run_adjoint(
    program: SegmentProgram, per_patient: bool, schedule: Schedule, residuals: NamedArrays, bars: tuple[Any, ...]
) -> Differentiable:
    """Cotangents of a schedule from those of all amounts and of their integrals or None."""
    layout, arguments, _ = plan_solution(program, schedule, per_patient)
    of_amounts, of_integrals = bars
    cotangents = {"of_amounts": of_amounts} | ({} if of_integrals is None else {"of_integral": of_integrals})
    return collect_cotangents(
        program, schedule, layout, run_solution_adjoint(layout, arguments | residuals | cotangents)
    )


def _spread_readings(bar: jax.Array | None, readings: Readings, size: int) -> jax.Array | None:
    """The cotangents of all amounts from those of readings (T, R, N)."""
    if bar is None or not readings:
        return bar
    of_amounts = jnp.zeros((len(bar), size, bar.shape[-1]))
    for r, members in enumerate(readings):
        of_amounts = of_amounts.at[:, np.array(members)].add(bar[:, r : r + 1])
    return of_amounts


def collect_cotangents(
    program: SegmentProgram, schedule: Schedule, layout: SolutionLayout, results: NamedArrays
) -> Differentiable:
    """An adjoint program's results, by the name of the argument they are cotangents of, as cotangents of the schedule."""
    stops, patients = _squeeze_stops(schedule), schedule.reset_state.shape[-1]

    def patients_arguments(rows: Any) -> NamedArrays:
        """Those of a window's arguments that are each patient's own."""
        names = {b.name for b in layout.window.parameters if not b.share} | (
            {"production"} if layout.has_inflow else set()
        )
        arguments = program.window_arguments(layout.window, rows, stops, patients)
        return {name: a for name, a in arguments.items() if name in names}

    arguments, pull = jax.vjp(patients_arguments, schedule.parameter_rows)
    (of_rows,) = pull({name: results[name] for name in arguments})
    steady_amounts = None
    if schedule.steady is not None:
        at_events = partial(_steady_amounts_at_events, schedule.events.steady_record)
        (steady_amounts,) = jax.vjp(at_events, schedule.steady.amounts)[1](results["steady_amounts"])
    return Differentiable(
        initial_states=results["initial_states"],
        inflow=results.get("initial_inflow"),
        reset_state=results["reset_state"] if layout.has_reset else jnp.zeros_like(schedule.reset_state),
        jump=results["jump"],
        inflow_change=results.get("inflow_change"),
        steady_amounts=steady_amounts,
        parameter_rows=of_rows,
    )


def plan_solution(
    program: SegmentProgram, schedule: Schedule, per_patient: bool, readings: Readings = ()
) -> tuple[SolutionLayout, NamedArrays, jax.Array]:
    """The layout of a solution, the arguments of its programs by name, and whether every observation is written by something:
    rows that were not are no numbers."""
    (g, m), patients = schedule.stops.shape[:2], schedule.reset_state.shape[-1]
    events = schedule.events
    layout = SolutionLayout(
        program.build_window(m, schedule.inflow is not None or program.has_production, readings),
        g,
        len(schedule.initial_states),
        len(schedule.output_index),
        schedule.inflow is not None,
        events.target is not None,
        events.reset is not None,
        schedule.steady is not None,
        per_patient=per_patient,
        readings=readings,
    )
    arguments = _event_arguments(layout, schedule)
    outputs, all_written = _output_arguments(layout, schedule)
    stops = _squeeze_stops(schedule)
    arguments |= outputs | program.window_arguments(layout.window, schedule.parameter_rows, stops, patients)
    return layout, arguments, all_written


def _event_arguments(layout: SolutionLayout, schedule: Schedule) -> NamedArrays:
    """What happens at the end of each window, by the names of layout.py: numbers all, for machine code has floats alone."""
    events = schedule.events

    def as_table(a: jax.Array) -> jax.Array:
        return (a if layout.per_patient else a[:, 0]).astype(float)

    arguments: NamedArrays = {"initial_states": schedule.initial_states, "jump": events.jump}
    arguments |= {"compartment": as_table(events.compartment), "restart": as_table(schedule.restart)}
    if events.reset is not None:
        arguments |= {"reset": as_table(events.reset), "reset_state": schedule.reset_state}
    if schedule.steady is not None:
        assert events.steady_record is not None
        arguments["steady_amounts"] = _steady_amounts_at_events(events.steady_record, schedule.steady.amounts)
        if events.reset is not None:  # 2: begins at the level of the steady state
            arguments["reset"] = jnp.where(events.steady_record > 0, 2.0, 1.0) * arguments["reset"]
    if schedule.inflow is not None:
        assert events.inflow_change is not None
        arguments |= {"inflow_change": events.inflow_change, "initial_inflow": schedule.inflow}
    if events.target is not None:
        assert events.void_fraction is not None
        arguments |= {"target": as_table(events.target), "void_fraction": events.void_fraction}
    return arguments


def _output_arguments(layout: SolutionLayout, schedule: Schedule) -> tuple[NamedArrays, jax.Array]:
    """Which state each row of the result holds, by the names of layout.py; whether every row is written."""
    g, m, k, rows = layout.segments, layout.stops, layout.initial_events, layout.output_rows
    table = jnp.zeros((g * m, len(StopColumn)))
    is_last = np.arange(g * m) % m == m - 1
    table = table.at[:, StopColumn.HAS_NEXT].set(np.where(is_last, 0.0, 1.0))
    table = table.at[:, StopColumn.NEXT_STOP].set(np.where(is_last, 0.0, np.arange(g * m) % m + 1.0))
    arguments: NamedArrays = {}
    all_written = jnp.asarray(True)
    if layout.per_patient:
        patients = schedule.reset_state.shape[-1]
        arguments["output_index"] = jnp.broadcast_to(schedule.output_index, (rows, patients)).astype(float)
    else:
        state, row = schedule.output_index[:, 0], jnp.arange(rows)
        stop = jnp.where(state >= k, state - k, g * m)  # beyond the table, and so dropped, where it is an initial state
        table = table.at[stop, StopColumn.IS_OUTPUT].set(1.0, mode="drop")
        table = table.at[stop, StopColumn.OUTPUT_ROW].set(row, mode="drop")
        initial = jnp.zeros((rows, len(InitialColumn)))
        initial = initial.at[:, InitialColumn.IS_OUTPUT].set(jnp.where(state < k, 1.0, 0.0))
        initial = initial.at[:, InitialColumn.EVENT].set(jnp.where(state < k, state, 0))
        arguments["initial_outputs"] = initial
        written = table[:, StopColumn.IS_OUTPUT].sum() + initial[:, InitialColumn.IS_OUTPUT].sum()
        all_written = written == rows
    arguments["stop_outputs"] = table.reshape(g, m, len(StopColumn))
    return arguments, all_written


def _squeeze_stops(schedule: Schedule) -> jax.Array:
    """(G, M), or each patient's own (G, M, N)."""
    return schedule.stops[..., 0] if schedule.stops.shape[-1] == 1 else schedule.stops


def _steady_amounts_at_events(record: jax.Array | None, amounts: jax.Array) -> jax.Array:
    """What steady-state records (S, n, N) add at each closing event (G, n, N); `record` (G, N) says which, from 1."""
    assert record is not None
    added = jnp.take_along_axis(amounts, jnp.maximum(record - 1, 0)[:, None, :], axis=0)
    return jnp.where(record[:, None, :] > 0, added, 0.0)
