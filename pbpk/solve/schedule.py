"""A solution once its events are in order: what is to be crossed, what happens in between, and where outputs are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from pbpk.solve.base import Readings
    from pbpk.solve.steady import SteadyState


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SegmentEvents:
    """What events do: arrays (E, N) of all of them, (G, N) of those that end the G windows, or (N,) of one.

    `row` is the row of parameters in force up to the event. `jump` is added to the amount of `compartment`, `inflow_change`
    to its inflow. `reset` empties the patient and stops inflows. `steady_record` says which steady-state record's amounts
    are added, from 1, or 0. The fraction `void_fraction` of `compartment` goes to `target`. None: no event of the timeline
    does such a thing.
    """

    row: jax.Array
    compartment: jax.Array
    jump: jax.Array
    reset: jax.Array | None = None
    inflow_change: jax.Array | None = None
    steady_record: jax.Array | None = None
    target: jax.Array | None = None
    void_fraction: jax.Array | None = None


class Schedule(NamedTuple):
    """Everything that a solution depends on, with events in order.

    `initial_states` (K, n, N) are the amounts after each event at the first instant, `inflow` (n, N) or None the inflow then;
    a reset goes back to `reset_state` (n, N). G windows follow: their `stops` (G, M, N or 1), hours from the window's start;
    whether something changed just before, `restart` (G, N); what the event at the last stop does, `events` (G, N).

    `parameter_rows` are the parameters as the solver takes them, first axis the row; `step_memory` is the solver's first one.
    `output_index` (T, N or 1) is where each observation is among the initial states and, after them, all G · M stops; where
    `output_mask` (T, N or 1) is False there is none.
    """

    initial_states: jax.Array
    inflow: jax.Array | None
    reset_state: jax.Array
    stops: jax.Array
    restart: jax.Array
    events: SegmentEvents
    parameter_rows: Any
    step_memory: Any
    steady: SteadyState | None
    output_index: jax.Array
    output_mask: jax.Array


class ScheduleResult(NamedTuple):
    """Amounts (T, n, N) at the observations, or readings of them (T, R, N), their integrals from the first event or None,
    and result codes (N,)."""

    amounts: jax.Array
    integrals: jax.Array | None
    code: jax.Array


Scan = Callable[[Schedule], ScheduleResult]
"""A solution by a scan over windows, all amounts of it."""

CompiledSchedule = Callable[[Schedule, Scan, Scan, bool], ScheduleResult]
"""A solution by one call of machine code. The scans do the same, for derivatives that the call has none for: the first is
differentiable by vjp and jvp of that, the second by jvp. The last argument says whether patients may have different events."""


def sum_readings(result: ScheduleResult, readings: Readings) -> ScheduleResult:
    """The readings (T, R, N) instead of all amounts, where there are some.

    Compartments are added one by one: a reduction's order, and so its last digit, depends on how many threads it is spread
    over.
    """
    if not readings:
        return result

    def read(a: jax.Array) -> jax.Array:
        return jnp.stack([sum((a[:, k] for k in members[1:]), a[:, members[0]]) for members in readings], axis=1)

    integrals = None if result.integrals is None else read(result.integrals)
    return result._replace(amounts=read(result.amounts), integrals=integrals)
