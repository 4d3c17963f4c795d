"""One patient's records as events: the records themselves, the doses that ADDL and SS imply, the ends of infusions, voids.

NONMEM's semantics: records at one time act in the order of the data; what is implied (additional or lagged doses, ends of
infusions, voids) acts before the records of its time; a reset or a steady state that replaces (SS = 1) cancels what is
pending. A dose at steady state has been given every II forever: of the doses before its record, those that a lag still
holds back and the ends of the infusions that still run are events to come (`intervals_back` counts them; steady.py masks
the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pbpk.errors import BadInput
from pbpk.solve.clock_events import check_timed_steady_state, list_clocks, restart_clocks, start_clocks
from pbpk.solve.dose_checks import check_dose
from pbpk.solve.event_kinds import BOLUS, END, RECORD, START, VOID, Event, RepeatedDose

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.regimen.regimen import Void

_SAME_INSTANT = 1e-9  # 3 doses 0.1 h apart miss the record at 0.3 h by a rounding, and belong to its instant
_MAX_EVENTS = 20_000  # events of one patient: a slip in ADDL, rather than a schedule
_HEADROOM = 2.0  # a patient's lag and infusions may be this much longer than the typical ones, beyond it `OVERLAPS`
_UNKNOWN_OVERLAPS = 4  # overlapping infusions allowed for when nothing is known of their length


class PatientEvents(NamedTuple):
    """One patient's events, unsorted, and doses at steady state. `epoch_ends` (epochs,) is when each epoch is cut off,
    `observation_events` are the numbers of the events that are observations."""

    events: list[Event]
    repeated_doses: list[RepeatedDose]
    epoch_ends: np.ndarray
    observation_events: list[int]


def read_patient_events(
    records: pd.DataFrame, system: System, *, moving: bool, typical: np.ndarray | None, voids: Sequence[Void]
) -> PatientEvents:
    """The events of one patient, unsorted. Raises `BadInput` with the record's row."""
    outside = len(system.names)
    events: list[Event] = []
    repeats: list[RepeatedDose] = []
    observed: list[int] = []
    times = records["TIME"].to_numpy(float)
    dosed = records["EVID"].isin((1, 4))
    opens = (records["EVID"].isin((3, 4)) | (dosed & (records["SS"] == 1))).to_numpy()
    epochs = np.cumsum(opens)
    until = _find_epoch_ends(times, epochs)
    stops = np.where(np.isfinite(until), until, times[epochs == epochs[-1]].max())
    instants = np.unique(times)
    counting = list_clocks(system, "since_dose")
    columns = ["TIME", "EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS", "CMT", "MDV"]
    subject = f" (ID {records['ID'].iloc[0]})" if "ID" in records else ""
    numbers = records["DOSE"] if "DOSE" in records else [-1] * len(records)
    plain = zip(records[columns].itertuples(index=True, name=None), numbers, strict=True)
    for row, ((line, time, evid, amt, rate, dur, addl, ii, ss, cmt, mdv), number) in enumerate(plain):
        epoch = int(epochs[row])
        if not mdv:
            observed.append(len(events))
        record = Event(time, time, epoch, row + 1, row, RECORD, outside, bool(opens[row]), dose=number)
        events.append(record)
        if evid not in (1, 4):
            continue
        where = f"row {line}{subject}"
        place = system.index(cmt)
        check_dose(system, place, amt, rate, addl, ii, ss, bool(voids), where)
        dose = record._replace(compartment=place, reset=False, amount=amt, rate=rate, duration=dur)
        if ss:
            check_timed_steady_state(system, place, where)
            starts, ends = (0, 1) if amt == 0 else _count_pending_doses(system, dose, ii, moving, typical)
            repeats.append(
                RepeatedDose(place, amt, rate, dur, ii if amt > 0 else 0.0, row, starts, ends, number, ss == 2)
            )
            dose = dose._replace(steady_record=len(repeats))
            events[-1] = record._replace(steady_record=len(repeats), compartment=place)
        else:
            starts, ends = 1, 1
        further = int(min(addl, max(np.floor((stops[epoch] - time) / ii + _SAME_INSTANT), 0))) if addl else 0
        if len(events) + starts + ends + 2 * further > _MAX_EVENTS:
            cause = f"ADDL = {addl}" if further else f"II = {ii:g}"
            raise BadInput(f"{cause} makes over {_MAX_EVENTS:,} events for one patient", where=where)
        events += _list_dose_events(dose, ii, starts, ends, further, instants)
        if counting:
            again = [_snap_to_record(time + k * ii, instants) for k in range(1, further + 1)]
            events += restart_clocks(counting, outside, [dose._replace(time=t) for t in (time, *again)])
    events += start_clocks(system, times, epochs, opens)
    for void in voids:
        events += _list_void_events(void, system, times, epochs, stops)
        if len(events) > _MAX_EVENTS:
            raise BadInput(f"voiding `{void.compartment}` makes over {_MAX_EVENTS:,} events for one patient")
    return PatientEvents(events, repeats, until, observed)


def _list_dose_events(
    dose: Event, ii: float, starts: int, ends: int, further: int, instants: np.ndarray
) -> list[Event]:
    """What happens because of a dose record: `starts` doses at it and before, every `ii` hours, of which `ends` infusions end
    after it, and `further` additional doses."""
    is_infusion = bool(dose.rate) or dose.duration > 0
    first = START if is_infusion else BOLUS
    events = [dose._replace(kind=first, time=dose.time - j * ii, intervals_back=j) for j in range(starts)]
    if is_infusion:
        events += [dose._replace(kind=END, time=dose.time - j * ii, intervals_back=j) for j in range(ends)]
    for k in range(1, further + 1):
        more = dose._replace(time=_snap_to_record(dose.time + k * ii, instants), steady_record=0)
        events.append(more._replace(kind=first))
        if is_infusion:
            events.append(more._replace(kind=END))
    return events


def stated_duration(event: Event) -> float:
    """Hours of an infusion, where no parameter changes them."""
    return event.amount / event.rate if event.rate > 0 else event.duration


def _find_epoch_ends(times: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """When each epoch is cut off: at the next reset, or its own last record where the clock starts anew; the last: never."""
    by_epoch = [times[epochs == e] for e in range(int(epochs[-1]) + 1)]
    ends = np.full(len(by_epoch), np.inf)
    for e, (of_epoch, of_next) in enumerate(pairwise(by_epoch)):
        last = of_epoch.max(initial=-np.inf)
        ends[e] = max(last, of_next[0]) if of_next[0] >= last else last
    return ends


def _count_pending_doses(
    system: System, dose: Event, ii: float, moving: bool, typical: np.ndarray | None
) -> tuple[int, int]:
    """How many doses of the past a steady-state record may hold back or still be giving: (starts, ends), 1 each at least.

    Exact when no parameter moves events. Otherwise from the typical values (C, m, N) with headroom: what exceeds it
    gets a result code, and is never left out in silence.
    """
    c = system.compartments[dose.compartment]

    def largest(name: str | None, otherwise: float, pick=np.max) -> float:
        if not moving or name is None or typical is None:
            return otherwise
        value = float(pick(typical[:, system.parameter_index(name)]))
        return value if np.isfinite(value) else otherwise

    lag, f = max(largest(c.lag, 0.0), 0.0), largest(c.bioavailability, 1.0)
    if dose.rate == -1:
        rate = largest(c.rate, 0.0, np.min)
        length = f * dose.amount / rate if rate > 0 else 0.0
    elif dose.rate == -2:
        length = max(largest(c.duration, 0.0), 0.0)
    else:
        length = stated_duration(dose) * (f if dose.rate > 0 else 1.0)
    if not moving:
        return 1, int(min(np.ceil(length / ii) + 1, _MAX_EVENTS))
    spare = 0 if typical is not None else _UNKNOWN_OVERLAPS
    starts, ends = (int(min(np.ceil(_HEADROOM * x / ii), _MAX_EVENTS)) for x in (lag, lag + length))
    return 1 + starts + (spare if c.lag else 0), 1 + ends + spare


def _list_void_events(
    void: Void, system: System, times: np.ndarray, epochs: np.ndarray, stops: np.ndarray
) -> list[Event]:
    """The events of a void. A habit, not a dose: it goes on after a reset, by the clock of each epoch."""
    source, target = void.find_compartments(system)
    events = []
    for e in np.unique(epochs):
        for t in void.times(float(times[epochs == e].min()), float(stops[e]), _MAX_EVENTS):
            time = _snap_to_record(t, times)
            events.append(Event(time, -np.inf, int(e), 0, 0, VOID, source, amount=1 - void.left, target=target))
    return events


def _snap_to_record(time: float, instants: np.ndarray) -> float:
    """`time`, or the record's time that it misses by a rounding."""
    nearest = float(instants[np.abs(instants - time).argmin()])
    return nearest if abs(nearest - time) <= _SAME_INSTANT * max(abs(time), 1.0) else time
