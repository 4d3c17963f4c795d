"""Records as arrays: what happens to each patient, and when.

A timeline holds every event of every patient (events.py) as (E, N) arrays. Lag, bioavailability and modelled lengths are
parameters, so the order of events may depend on the numbers; segments.py sorts inside the traced program when it does
(`has_moving_events`), and here, once, when it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import jax
import numpy as np
import pandas as pd

from pbpk.linalg.series import SPANS
from pbpk.solve.clock_events import list_clocks
from pbpk.solve.event_kinds import END, NOTHING, RECORD, START, Event, RepeatedDose
from pbpk.solve.events import PatientEvents, read_patient_events, stated_duration
from pbpk.solve.windows import Windows, plan_windows

if TYPE_CHECKING:
    from pbpk.model.system import System
    from pbpk.regimen.regimen import Void

Between = Literal["nocb", "locf"]
"""Which record's covariates and parameters hold between two records: the next one's (NONMEM's) or the last one's."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SteadyRecords:
    """The steady-state records: (S, N) arrays of `RepeatedDose`, S the most of any patient, and which of them exist.

    Of the events (E, N), `record` says which of them they belong to (from 1; 0: none) and `intervals_back` how many intervals
    before it they were given.
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
    adds: np.ndarray
    exists: np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Timeline:
    """All events of all patients. Arrays are (E, N), or (E, 1) when all patients share them; observations are (T, N).

    `kind` and `target` are events.py's; `epoch` counts resets; `rank` orders records of one time (0: implied); `row` is
    the record, which is a row of parameters; `amount` is the dose (of a void the fraction that goes); `rate` and
    `duration` belong to infusions, one of the two given, or -1 and -2; `since` is the time of the record an event comes
    from and `until` that of the reset that cancels it; `dose` is the dose's number in its regimen (-1: none), by which
    amounts and times are replaced; `output_index` is the event of each observation and `output_mask` says which observations
    exist; `windows` are the events that may be taken together, `unbounded_windows` those for a solver that takes steps
    through time. What no record asks for is None or a static False, and costs nothing.
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
        """How many the arrays are of; 1 where all share them."""
        return max(a.shape[1] for a in (self.time, self.amount, self.output_index))


_FIELDS = ("time", "epoch", "rank", "row", "reset", "kind", "compartment", "amount", "rate", "duration")
_ORDER_FIELDS = ("since", "until", "target", "steady_record", "intervals_back", "dose")


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
    patients = [read_patient_events(s, system, moving=moving, typical=typical, voids=voids) for s in subjects]
    arrays = [_event_arrays(patient, moving) for patient in patients]
    e = _pad_size(max(len(patient.events) for patient in patients))
    t = _pad_size(max((len(patient.observation_events) for patient in patients), default=1))
    wide = {k: np.zeros((e, len(patients)), dtype=v.dtype) for k, v in arrays[0].items()}
    output_index, mask = np.zeros((t, len(patients)), dtype=int), np.zeros((t, len(patients)), dtype=bool)
    for i, (patient, columns) in enumerate(zip(patients, arrays, strict=True)):
        in_order = np.lexsort((columns["rank"], columns["time"], columns["epoch"]))
        order = np.arange(len(patient.events)) if moving else in_order
        for name, values in columns.items():
            wide[name][: len(values), i] = values[order]
        # Padding stands after the last event, in an epoch of its own, and is a record so that nothing happens there.
        padding = {"time": columns["time"].max(), "epoch": columns["epoch"].max() + 1, "row": columns["row"].max()}
        padding["dose"] = columns["dose"][columns["row"].argmax()]  # a last record that is a moved dose takes it along
        for name, value in (padding | {"since": -np.inf, "until": np.inf, "compartment": len(system.names)}).items():
            wide[name][len(order) :, i] = value
        output_index[: len(patient.observation_events), i] = np.argsort(order)[patient.observation_events]
        mask[: len(patient.observation_events), i] = True
    has_repeats = any(patient.repeated_doses for patient in patients)
    steady = _steady_records(patients, wide, len(system.names)) if has_repeats else None
    windows = unbounded = None
    if not moving:
        observed = output_index[mask]
        windows, unbounded = (
            _plan_windows_of(patients, wide, spans).drop_unobserved(observed) for spans in (SPANS, (np.inf,))
        )
        output_index = np.where(
            mask, output_index, windows.initial_events - 1
        )  # where what does not exist costs nothing
    return Timeline(
        **{name: wide[name] for name in _FIELDS},
        output_index=output_index,
        output_mask=mask,
        since=wide["since"] if moving else None,
        until=wide["until"] if moving else None,
        target=wide["target"] if voids or list_clocks(system, "since_dose") else None,
        dose=wide["dose"] if "DOSE" in subjects[0] else None,
        steady=steady,
        windows=windows,
        unbounded_windows=unbounded,
        has_moving_events=moving,
        has_resets=bool(wide["reset"].any()),
        has_infusions=bool(np.isin(wide["kind"], (START, END)).any()),
        has_modelled_rates=modelled,
        between=between,
    )


def _plan_windows_of(patients: list[PatientEvents], wide: dict[str, np.ndarray], spans: Sequence[float]) -> Windows:
    """The windows of events in order (E, N), with the best of several spans."""
    quiet = np.isin(wide["kind"], (RECORD, NOTHING)) & ~wide["reset"] & (wide["steady_record"] == 0)
    count = np.array([len(patient.events) for patient in patients])
    return plan_windows(wide["time"], wide["epoch"], quiet, count, spans)


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


def _event_arrays(patient: PatientEvents, moving: bool) -> dict[str, np.ndarray]:
    """One patient's events by field; times, ranks and kinds are settled here when no parameter has a say in them."""
    by_field = dict(zip(Event._fields, (np.array(c) for c in zip(*patient.events, strict=True)), strict=True))
    columns = {name: by_field[name] for name in (*_FIELDS, *_ORDER_FIELDS) if name != "until"}
    columns["until"] = patient.epoch_ends[columns["epoch"]]
    if not moving:
        length = np.array([stated_duration(event) if event.kind == END else 0.0 for event in patient.events])
        columns["time"], columns["rank"], columns["kind"] = settle_order(
            np, columns["time"] + length, columns["since"], columns["until"], columns["rank"], columns["kind"]
        )
    return columns


def _steady_records(patients: list[PatientEvents], wide: dict[str, np.ndarray], outside: int) -> SteadyRecords:
    """All patients' doses at steady state; who has fewer than others has some that do not exist."""
    most = max(len(patient.repeated_doses) for patient in patients)
    no_dose = RepeatedDose(outside, 0.0, 0.0, 0.0, 1.0, 0, 1, 1)
    padded = [patient.repeated_doses + [no_dose] * (most - len(patient.repeated_doses)) for patient in patients]
    columns = {name: np.array([[getattr(r, name) for r in p] for p in padded]).T for name in RepeatedDose._fields}
    exists = np.arange(most)[:, None] < np.array([len(patient.repeated_doses) for patient in patients])
    record, intervals_back = wide["steady_record"], wide["intervals_back"]
    return SteadyRecords(record=record, intervals_back=intervals_back, exists=exists, **columns)


def _pad_size(n: int) -> int:
    """One of a few sizes at or above n, so that similar studies share a program."""
    step = 4 if n <= 32 else 16 if n <= 256 else 128
    return max(-(-n // step) * step, 1)
