"""Time for laws: a clock is a compartment that fills at one hour per hour, so that every solver and derivative knows it.

A law that reads the time reads the amount in such a compartment, which `add_clocks` gives a model. The events that keep it
right are the timeline's (`solve/clock_events.py`): it is set at the first record and after a reset, set back to 0 at each
dose where it counts from there, and a change-point is one unit that arrives at its time.
"""

from __future__ import annotations

from dataclasses import replace

from pbpk.model.declare import (
    OUT,
    Amount,
    Block,
    Clock,
    Compartment,
    ComputedReading,
    Observable,
    flux,
)


def tick():
    """1: an hour per hour."""
    return 1.0


def add_clocks(block: Block) -> Block:
    """The block with a compartment for each clock that its laws read, which they read instead."""
    bindings = [b for f in block.fluxes for _, b in f.bindings]
    readings = [o.reading for o in block.observables if isinstance(o.reading, ComputedReading)]
    bindings += [b for r in readings for _, b in r.bindings]
    clocks = {b: _make_clock(b) for b in bindings if isinstance(b, Clock)}
    if not clocks:
        return block
    ticking = tuple(flux(OUT >> c, tick) for b, c in clocks.items() if b.shows != "after")
    return replace(
        block,
        compartments=block.compartments + tuple(clocks.values()),
        fluxes=tuple(replace(f, bindings=_bind_clocks(f.bindings, clocks)) for f in block.fluxes) + ticking,
        observables=tuple(_read_clocks(o, clocks) for o in block.observables),
    )


def _make_clock(clock: Clock) -> Compartment:
    name = {"time": "time", "since_dose": "time_since_dose"}.get(clock.shows, f"after_{clock.at}")
    return Compartment(name, "1" if clock.shows == "after" else "h", lag=clock.at, clock=clock)


def _bind_clocks(bindings: tuple, clocks: dict[Clock, Compartment]) -> tuple:
    return tuple((name, Amount(clocks[b]) if isinstance(b, Clock) else b) for name, b in bindings)


def _read_clocks(o: Observable, clocks: dict[Clock, Compartment]) -> Observable:
    if not isinstance(o.reading, ComputedReading):
        return o
    return replace(o, reading=replace(o.reading, bindings=_bind_clocks(o.reading.bindings, clocks)))
