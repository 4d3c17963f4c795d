"""Records as arrays: what happens to each patient, and when.

A timeline holds every event of every patient (events.py) as (E, N) arrays. Lag, bioavailability and modelled lengths are
parameters, so the order of events may depend on the numbers; segments.py sorts inside the compiled program when it does
(`moving`), and here, once, when it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import jax
import numpy as np
import pandas as pd

from pbpk.linalg.series import SPANS
from pbpk.solve.events import (
    END,
    NOTHING,
    RECORD,
    START,
    Event,
    PatientEvents,
    RepeatedDose,
    read_patient_events,
    stated_duration,
)
from pbpk.solve.windows import Windows, plan_windows

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.regimen.regimen import Void

Between = Literal["nocb", "locf"]
"""Which record's covariates and parameters hold between two records: the next one's (NONMEM's) or the last one's."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SteadyRecords:
    """The steady-state records: (S, N) arrays of `Repeat`, S the most of any patient, and which of them exist.

    Of the events (E, N), `of` says which record (from 1; 0: none) and `back` how many intervals before it.
    """

    record: np.ndarray
    intervals_back: np.ndarray
    compartment: np.ndarray
    amount: np.ndarray
    rate: np.ndarray
    duration: np.ndarray
    interval: np.ndarray
    row: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    dose: np.ndarray
    exists: np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Timeline:
    """Arrays are (E, N), or (E, 1) when all patients share them; observations are (T, N).

    `kind` and `target` are events.py's; `epoch` counts resets; `rank` orders records of one time (0: implied); `row` is
    the record, which is a row of parameters; `amount` is the dose (of a void the fraction that goes); `rate` and
    `duration` belong to infusions, one of the two given, or -1 and -2; `since` is the time of the record an event comes
    from and `until` that of the reset that cancels it; `dose` is the dose's number in its regimen (-1: none), by which
    amounts and times are replaced; `at` is the event of each observation and `seen` says which
    observations exist; `windows` are the events that may be taken together, `stretches` those by who
    marches through time. What no record asks for is None or a static
    False, and costs nothing.
    """

    time: np.ndarray
    epoch: np.ndarray
    rank: np.ndarray
    row: np.ndarray
    reset: np.ndarray
    kind: np.ndarray
    compartment: np.ndarray
    amount: np.ndarray
    rate: np.ndarray
    duration: np.ndarray
    output_index: np.ndarray
    output_mask: np.ndarray
    since: np.ndarray | None = None
    until: np.ndarray | None = None
    target: np.ndarray | None = None
    dose: np.ndarray | None = None
    steady: SteadyRecords | None = None
    windows: Windows | None = None
    unbounded_windows: Windows | None = None
    has_moving_events: bool = field(default=False, metadata={"static": True})
    has_resets: bool = field(default=True, metadata={"static": True})
    has_infusions: bool = field(default=False, metadata={"static": True})
    has_modelled_rates: bool = field(default=False, metadata={"static": True})
    between: Between = field(default="nocb", metadata={"static": True})

    @property
    def patients(self) -> int:
        return max(a.shape[1] for a in (self.time, self.amount, self.output_index))


_FIELDS = ("time", "epoch", "rank", "row", "reset", "kind", "compartment", "amount", "rate", "duration")
_ORDER_FIELDS = ("since", "until", "target", "steady", "back", "dose")


def build_timeline(
    subjects: list[pd.DataFrame],
    system: System,
    *,
    moving: bool = False,
    typical: np.ndarray | None = None,
    voids: Sequence[Void] = (),
    between: Between = "nocb",
) -> Timeline:
    """One timeline from each subject's records (columns of `pbpk.data.EventTable.frame`, in file order).

    Every record is an event, and every row with MDV = 0 an observation, in order. `moving` says that lag or
    bioavailability may shift events (see `moves_events`); modelled rates and durations always do. `typical` (C, m, N)
    are parameters from which the number of infusions that overlap at steady state is foreseen. `voids` happen to every
    subject. Sizes are padded so that similar studies share a program. Raises `BadInput`.
    """
    modelled = any(bool((s["EVID"].isin((1, 4)) & (s["RATE"] < 0)).any()) for s in subjects)
    moving = moving or modelled
    courses = [read_patient_events(s, system, moving=moving, typical=typical, voids=voids) for s in subjects]
    arrays = [_event_arrays(course, moving) for course in courses]
    e = _pad_size(max(len(c.events) for c in courses))
    t = _pad_size(max((len(c.observation_events) for c in courses), default=1))
    wide = {k: np.zeros((e, len(courses)), dtype=v.dtype) for k, v in arrays[0].items()}
    at, mask = np.zeros((t, len(courses)), dtype=int), np.zeros((t, len(courses)), dtype=bool)
    for i, (course, own) in enumerate(zip(courses, arrays, strict=True)):
        order = np.arange(len(course.events)) if moving else np.lexsort((own["rank"], own["time"], own["epoch"]))
        for name, values in own.items():
            wide[name][: len(values), i] = values[order]
        # Padding stands after the last event, in an epoch of its own, and is a record so that nothing happens there.
        padding = {"time": own["time"].max(), "epoch": own["epoch"].max() + 1, "row": own["row"].max()}
        padding["dose"] = own["dose"][own["row"].argmax()]  # where the last record is a dose that is moved, it follows
        for name, value in (padding | {"since": -np.inf, "until": np.inf, "compartment": len(system.names)}).items():
            wide[name][len(order) :, i] = value
        at[: len(course.observation_events), i] = np.argsort(order)[course.observation_events]
        mask[: len(course.observation_events), i] = True
    steady = _steady_records(courses, wide, len(system.names)) if any(c.repeated_doses for c in courses) else None
    windows, stretches = (
        None if moving else _plan_windows_of(courses, wide, s).drop_unobserved(at[mask]) for s in (SPANS, (np.inf,))
    )
    if windows is not None:
        at = np.where(mask, at, windows.initial_events - 1)  # what does not exist stands where it costs nothing
    return Timeline(
        **{name: wide[name] for name in _FIELDS},
        output_index=at,
        output_mask=mask,
        since=wide["since"] if moving else None,
        until=wide["until"] if moving else None,
        target=wide["target"] if voids else None,
        dose=wide["dose"] if "DOSE" in subjects[0] else None,
        steady=steady,
        windows=windows,
        unbounded_windows=stretches,
        has_moving_events=moving,
        has_resets=bool(wide["reset"].any()),
        has_infusions=bool(np.isin(wide["kind"], (START, END)).any()),
        has_modelled_rates=modelled,
        between=between,
    )


def _plan_windows_of(courses: list[PatientEvents], wide: dict[str, np.ndarray], spans: Sequence[float]) -> Windows:
    idle = np.isin(wide["kind"], (RECORD, NOTHING)) & ~wide["reset"] & (wide["steady"] == 0)
    count = np.array([len(c.events) for c in courses])
    return plan_windows(wide["time"], wide["epoch"], idle, count, spans)


def moves_events(system: System, p: np.ndarray, varying: set[str], infusions: bool) -> bool:
    """Whether event times depend on parameters: a lag that varies or is not zero, or F on an infusion's length."""
    varying = varying | {d.name for d in system.block.derived}
    for c in system.compartments:
        if c.lag and (c.lag in varying or np.any(p[..., system.parameter_index(c.lag), :] != 0)):
            return True
        f = c.bioavailability
        if infusions and f and (f in varying or np.any(p[..., system.parameter_index(f), :] != 1)):
            return True
    return False


def settle_order(xp, time, since, until, rank, kind):
    """(time, rank, kind) in effect, for numpy and jax.numpy alike: what is implied acts before the records of its time,
    though never before its own record, and what comes after its epoch has ended does not happen."""
    time = xp.maximum(time, since)
    rank = xp.where(time > since, 0, rank)
    return xp.minimum(time, until), rank, xp.where(time > until, NOTHING, kind)


def _event_arrays(course: PatientEvents, moving: bool) -> dict[str, np.ndarray]:
    """By field; times, ranks and kinds are settled here when no parameter has a say in them."""
    columns = dict(zip(Event._fields, (np.array(c) for c in zip(*course.events, strict=True)), strict=True))
    own = {name: columns[name] for name in (*_FIELDS, *_ORDER_FIELDS) if name != "until"}
    own["until"] = course.epoch_ends[own["epoch"]]
    if not moving:
        length = np.array([stated_duration(event) if event.kind == END else 0.0 for event in course.events])
        own["time"], own["rank"], own["kind"] = settle_order(
            np, own["time"] + length, own["since"], own["until"], own["rank"], own["kind"]
        )
    return own


def _steady_records(courses: list[PatientEvents], wide: dict[str, np.ndarray], outside: int) -> SteadyRecords:
    most = max(len(c.repeated_doses) for c in courses)
    nothing = RepeatedDose(outside, 0.0, 0.0, 0.0, 1.0, 0, 1, 1)
    padded = [c.repeated_doses + [nothing] * (most - len(c.repeated_doses)) for c in courses]
    columns = {name: np.array([[getattr(r, name) for r in p] for p in padded]).T for name in RepeatedDose._fields}
    exists = np.arange(most)[:, None] < np.array([len(c.repeated_doses) for c in courses])
    return SteadyRecords(record=wide["steady"], intervals_back=wide["back"], exists=exists, **columns)


def _pad_size(n: int) -> int:
    step = 4 if n <= 32 else 16 if n <= 256 else 128
    return max(-(-n // step) * step, 1)
