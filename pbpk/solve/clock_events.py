"""The events that keep a model's clocks right (pbpk/model/clocks.py): beside a patient's records, doses and voids.

At the first record and after each reset a clock is set to the records' time, and a change-point's unit is sent to arrive at
its time. At each dose a clock that counts from there is emptied. They act before the other records of their time, except
where their own record begins an epoch: they follow it then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import BadInput
from pbpk.solve.event_kinds import BOLUS, VOID, Event

if TYPE_CHECKING:
    from pbpk.model.system import System


def list_clocks(system: System, shows: str) -> list[int]:
    """The numbers of the compartments that are clocks of this kind."""
    return [i for i, c in enumerate(system.compartments) if c.clock is not None and c.clock.shows == shows]


def start_clocks(system: System, times: np.ndarray, epochs: np.ndarray, opens: np.ndarray) -> list[Event]:
    """The events that set each epoch's clocks, from its first record's time and row on."""
    events = []
    for epoch in np.unique(epochs):
        row = int(np.argmax(epochs == epoch))
        begin, rank = float(times[row]), row + 1 if opens[row] else 0
        first = Event(begin, begin, int(epoch), rank, row, BOLUS, 0)
        events += [first._replace(compartment=i, amount=begin) for i in list_clocks(system, "time")]
        events += [first._replace(compartment=i, time=0.0, amount=1.0) for i in list_clocks(system, "after")]
    return events


def restart_clocks(clocks: list[int], outside: int, doses: list[Event]) -> list[Event]:
    """The events that empty the `clocks` which count from the last dose, at each of `doses`."""
    return [
        dose._replace(kind=VOID, compartment=i, target=outside, amount=1.0, rate=0.0, duration=0.0, steady_record=0)
        for i in clocks
        for dose in doses
    ]


def check_timed_steady_state(system: System, compartment: int, where: str) -> None:
    """Raise `BadInput` where a steady state of doses into `compartment` is asked of kinetics that change with the records'
    time; or with the time since a dose was given, while a lag may hold doses back, since a steady state counts from their
    arrival."""
    lag = system.compartments[compartment].lag
    if system.reads_time_since_dose and lag:
        raise BadInput(
            f"SS asks for a steady state of doses that `{lag}` may hold back, and rates depend on the time since a dose",
            where=where,
            hint="give the doses that lead there (ADDL, II) instead of SS",
        )
    if system.has_timed_kinetics:
        raise BadInput(
            "SS asks for a steady state, and this model's rates depend on time",
            where=where,
            why="What repeated doses lead to is then another thing at every time.",
            hint="give the doses that lead there (ADDL, II) instead of SS",
        )
