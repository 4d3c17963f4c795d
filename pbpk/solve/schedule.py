"""A solution once its events are in order: what is to be crossed, what happens in between, and what is to be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from pbpk.solve.base import Readings
    from pbpk.solve.steady import SteadyState


class Schedule(NamedTuple):
    """Amounts after each of the events at the first instant, `firsts` (K, n, N), and the inflow then (n, N) or None; `begin`
    (n, N), which a reset goes back to. Then G windows: their `stops` (G, M, N or 1), hours from the window's start; whether
    something changed just before, `fresh` (G, N); what the event at its last stop does, `events` (G, N) each.

    `rows` are the parameters as the solver takes them, first axis the row; `memory` is the solver's first one. `at` (T, N
    or 1) is where each observation is among the first events and, after them, all G · M stops; where `seen` (T, N
    or 1) is False there is none.
    """

    initial_states: jax.Array
    inflow: jax.Array | None
    reset_state: jax.Array
    stops: jax.Array
    restart: jax.Array
    events: dict[str, jax.Array]
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


def sum_readings(seen: ScheduleResult, readings: Readings) -> ScheduleResult:
    """The readings (T, R, N) instead of all amounts, where there are some. Compartments are added one by one: a reduction's
    order, and so its last digit, depends on how many threads it is spread over."""
    if not readings:
        return seen

    def read(a: jax.Array) -> jax.Array:
        return jnp.stack([sum((a[:, k] for k in own[1:]), a[:, own[0]]) for own in readings], axis=1)

    return seen._replace(amounts=read(seen.amounts), integrals=None if seen.integrals is None else read(seen.integrals))
