"""Events as one scan: advance to the next event, apply it, go on. Every solver stands on this.

The program is one step long whatever the number of events. All patients take their k-th event together; a patient with
fewer has padding, over which nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from pbpk.model.system import System
from pbpk.solve.timeline import BOLUS, END, START, Timeline

Advance = Callable[..., tuple[jax.Array, jax.Array]]  # (x (n, N), rate (n, N) | None, dt (N,), row) -> (x, code (N,))


def run_segments(system: System, timeline: Timeline, p: jax.Array, rows, advance: Advance):
    """Amounts (T, n, N) at the observations, and result codes (N,).

    `rows` is any pytree of arrays with the axis of parameter rows first and patients last: what `advance` needs of the
    parameters, of which each step gets the row in force.
    """
    patients = max(timeline.patients, p.shape[-1])
    dose = _effective(system, timeline, p, patients)
    permutation = None
    if timeline.moving:
        permutation = jnp.lexsort((dose["rank"], dose["time"], dose["epoch"]), axis=0)
        dose = {k: jnp.take_along_axis(v, permutation, axis=0) for k, v in dose.items()}
    elapsed = jnp.diff(dose["time"], axis=0, prepend=dose["time"][:1])
    same = dose["epoch"] == jnp.concatenate([dose["epoch"][:1], dose["epoch"][:-1]])
    events = {
        "dt": jnp.where(same, elapsed, 0.0),
        "row": _next_row(dose["row"], dose["rank"]),
        "reset": dose["reset"],
        "compartment": dose["compartment"],
        "jump": dose["jump"],
    }
    if timeline.infusing:
        events["change"] = dose["change"]

    n = len(system.names)
    constant = p.shape[0] == 1
    lane = jnp.arange(patients)

    def step(carry, event):
        x, rate, code = carry
        here = jax.tree.map(lambda a: a[0] if constant else jnp.moveaxis(a[event["row"], ..., lane], 0, -1), rows)
        x, failed = advance(x, rate, event["dt"], here)
        x = jnp.where(event["reset"], 0.0, x)
        into = jnp.arange(n)[:, None] == event["compartment"]
        x = x + into * event["jump"]
        if rate is not None:
            rate = jnp.where(event["reset"], 0.0, rate) + into * event["change"]
        return (x, rate, code | failed), x

    zero = jnp.zeros((n, patients))
    start = (zero, zero if timeline.infusing else None, jnp.zeros(patients, jnp.int32))
    (_, _, code), states = lax.scan(step, start, events)
    at = jnp.broadcast_to(timeline.at, (timeline.at.shape[0], patients))
    if permutation is not None:
        at = jnp.take_along_axis(jnp.argsort(permutation, axis=0), at, axis=0)
    return jnp.take_along_axis(states, at[:, None, :], axis=0), code


def _effective(system: System, timeline: Timeline, p: jax.Array, patients: int) -> dict[str, jax.Array]:
    """Lag and bioavailability applied, as NONMEM does: F scales AMT; with a given RATE it changes the duration."""
    wide = {
        k: jnp.broadcast_to(getattr(timeline, k), (timeline.time.shape[0], patients))
        for k in ("time", "epoch", "rank", "row", "reset", "kind", "compartment", "amount", "rate", "duration")
    }
    lag = _of_compartment(system, p, wide, "lag", 0.0)
    f = _of_compartment(system, p, wide, "bioavailability", 1.0)
    by_rate = wide["rate"] > 0
    safe = jnp.where(by_rate, wide["rate"], 1.0)
    length = jnp.where(by_rate, f * wide["amount"] / safe, wide["duration"])
    given = jnp.where(by_rate, wide["amount"] / safe, wide["duration"])
    speed = jnp.where(
        by_rate, wide["rate"], f * wide["amount"] / jnp.where(wide["duration"] > 0, wide["duration"], 1.0)
    )
    is_end = wide["kind"] == END
    wide["jump"] = jnp.where(wide["kind"] == BOLUS, f * wide["amount"], 0.0)
    wide["change"] = jnp.where(wide["kind"] == START, speed, 0.0) - jnp.where(is_end, speed, 0.0)
    if timeline.moving:
        wide["time"] = wide["time"] + lag + jnp.where(is_end, length - given, 0.0)
        wide["rank"] = jnp.where(lag > 0, 0, wide["rank"])
    return wide


def _of_compartment(system: System, p: jax.Array, wide: dict, role: str, default: float) -> jax.Array | float:
    """The lag or bioavailability of each event's compartment, from the parameter row of the dose's own record."""
    names = [getattr(c, role) for c in system.compartments]
    if not any(names):
        return jnp.full(wide["time"].shape, default)
    index = jnp.asarray([system.parameter_index(n) if n else -1 for n in names] + [-1])[wide["compartment"]]
    row = jnp.minimum(wide["row"], p.shape[0] - 1)
    value = p[row, index, jnp.arange(wide["time"].shape[1])]
    return jnp.where(index >= 0, value, default)


def _next_row(row: jax.Array, rank: jax.Array) -> jax.Array:
    """The parameters in force up to an event are the next record's: a minimum from the end, since rows only grow."""
    own = jnp.where(rank > 0, row, row.max(axis=0, keepdims=True))
    return lax.cummin(own, axis=0, reverse=True)
