"""What may happen to a patient: the kinds of events, one event, and a dose at steady state."""

from __future__ import annotations

from typing import NamedTuple

RECORD, BOLUS, START, END, VOID, NOTHING = range(6)


class Event(NamedTuple):
    """One thing that happens to a patient: a record, or what it implies.

    `time` is that of the dose or void without its lag, for END that of the infusion's start; `since` is the record's.
    `steady_record` is the number (from 1) of the steady-state record that this event belongs to, `intervals_back` how many
    intervals before it the dose was given; `target` is where a void goes, and `amount` then is the fraction that goes.
    `dose` is the number in the regimen (from 0) of the dose that the event or its record belongs to; -1: none, or not from a
    regimen.
    """

    time: float
    since: float
    epoch: int
    rank: int
    row: int
    kind: int
    compartment: int
    reset: bool = False
    amount: float = 0.0
    rate: float = 0.0
    duration: float = 0.0
    steady_record: int = 0
    intervals_back: int = 0
    target: int = 0
    dose: int = -1


class RepeatedDose(NamedTuple):
    """A dose at steady state, given every `interval` hours; 0: an endless infusion. `starts` and `ends` are how many events
    stand for it. `adds`: to the amounts that are there (SS = 2), instead of replacing them."""

    compartment: int
    amount: float
    rate: float
    duration: float
    interval: float
    row: int
    starts: int
    ends: int
    dose: int = -1
    adds: bool = False
