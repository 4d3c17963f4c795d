"""Records as arrays: what happens to each patient, and when.

A timeline holds every event of every patient, unsorted, as (E, N) arrays: the data's records, the doses that ADDL implies
and the ends of infusions. Lag and bioavailability are parameters, so the order of events may depend on the numbers;
segments.py sorts inside the compiled program when it does (`moving`), and here, once, when it does not.

NONMEM's semantics: records at one time act in the order of the data; a dose that is not itself a record (additional or
lagged) acts before the records of its time; a reset cancels what is pending; the parameters of a record hold over
the interval that ends at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import numpy as np
import pandas as pd

from pbpk.errors import BadInput
from pbpk.model.system import System

NOTHING, BOLUS, START, END = 0, 1, 2, 3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Timeline:
    """Arrays are (E, N), or (E, 1) when all patients share them; observations are (T, N).

    `epoch` counts resets; `rank` orders records of one time (0: implied); `row` is the record, which is a row of
    parameters; `amount` is the dose; `rate` and `duration` belong to infusions, one of the two given; `at` is the event
    of each observation and `seen` says which observations exist.
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
    at: np.ndarray
    seen: np.ndarray
    moving: bool = field(metadata={"static": True})
    infusing: bool = field(metadata={"static": True})

    @property
    def patients(self) -> int:
        return max(a.shape[1] for a in (self.time, self.amount, self.at))


_FIELDS = ("time", "epoch", "rank", "row", "reset", "kind", "compartment", "amount", "rate", "duration")
_SAME_INSTANT = 1e-9  # 3 doses 0.1 h apart miss the record at 0.3 h by a rounding, and belong to its instant
_BOUNDS = 20_000  # events of one patient: a slip in ADDL, rather than a schedule


def build_timeline(subjects: list[pd.DataFrame], system: System, *, moving: bool = False) -> Timeline:
    """One timeline from each subject's records (columns of `pbpk.data.EventTable.frame`, in file order).

    Every record is an event, and every row with MDV = 0 an observation, in order. `moving` says that lag or
    bioavailability may shift events (see `moves_events`). Sizes are padded so that similar studies share a program.
    """
    tables, seen = [], []
    for records in subjects:
        events, observed = _events(records, system)
        tables.append(events)
        seen.append(observed)
    e = _padded(max(len(t) for t in tables))
    t = _padded(max((len(s) for s in seen), default=1))
    arrays = {name: np.zeros((e, len(tables)), dtype=tables[0][name].dtype) for name in _FIELDS}
    at, mask = np.zeros((t, len(tables)), dtype=int), np.zeros((t, len(tables)), dtype=bool)
    for i, (table, observed) in enumerate(zip(tables, seen, strict=True)):
        order = np.arange(len(table)) if moving else np.lexsort((table["rank"], table["time"], table["epoch"]))
        for name in _FIELDS:
            arrays[name][: len(table), i] = table[name].to_numpy()[order]
        arrays["time"][len(table) :, i] = table["time"].max()
        arrays["epoch"][len(table) :, i] = table["epoch"].max() + 1
        arrays["row"][len(table) :, i] = table["row"].max()
        arrays["compartment"][len(table) :, i] = len(system.names)
        at[: len(observed), i] = np.argsort(order)[observed]
        mask[: len(observed), i] = True
    infusing = bool((arrays["kind"] >= START).any())
    return Timeline(**arrays, at=at, seen=mask, moving=moving, infusing=infusing)


def moves_events(system: System, p: np.ndarray, varying: set[str], infusions: bool) -> bool:
    """Whether event times depend on parameters: a lag that varies or is not zero, or F on an infusion's length."""
    for c in system.compartments:
        if c.lag and (c.lag in varying or np.any(p[..., system.parameter_index(c.lag), :] != 0)):
            return True
        f = c.bioavailability
        if infusions and f and (f in varying or np.any(p[..., system.parameter_index(f), :] != 1)):
            return True
    return False


def _padded(n: int) -> int:
    step = 4 if n <= 32 else 16 if n <= 256 else 128
    return max(-(-n // step) * step, 1)


def _events(records: pd.DataFrame, system: System) -> tuple[pd.DataFrame, np.ndarray]:
    """One patient's events (a frame of `_FIELDS`) and the indices of the observations among them."""
    rows: list[tuple] = []
    observed: list[int] = []
    epoch, outside = 0, len(system.names)
    columns = ["TIME", "EVID", "AMT", "RATE", "DUR", "ADDL", "II", "SS", "CMT", "MDV"]
    ends, instants = _epoch_ends(records), np.unique(records["TIME"])
    plain = records[columns].itertuples(index=True, name=None)
    for rank, (line, time, evid, amt, rate, dur, addl, ii, ss, cmt, mdv) in enumerate(plain, start=1):
        where = f"row {line}"
        if ss:
            raise BadInput("SS (steady state) is not supported yet", where=where, hint="give the doses that lead to it")
        if rate < 0:
            raise BadInput(
                f"RATE = {rate:g} asks for a modelled rate or duration, which is not supported yet",
                where=where,
                hint="give the RATE or DUR itself",
            )
        resets = evid in (3, 4)
        epoch += resets
        if not mdv:
            observed.append(len(rows))
        rows.append((time, epoch, rank, rank - 1, resets, NOTHING, outside, 0.0, 0.0, 0.0))
        if evid in (1, 4):
            place = system.index(cmt)
            fit = (ends[epoch] - time) / ii + _SAME_INSTANT if addl and ii > 0 else 0
            for k in range(int(min(addl, max(np.floor(fit), 0))) + 1):
                moment = time if k == 0 else _at_instant(time + k * ii, instants)
                base = (moment, epoch, rank if k == 0 else 0, rank - 1, False)
                if rate > 0 or dur > 0:
                    rows.append((*base, START, place, amt, rate, dur))
                    length = dur if dur > 0 else amt / rate
                    rows.append((base[0] + length, epoch, 0, rank - 1, False, END, place, amt, rate, dur))
                else:
                    rows.append((*base, BOLUS, place, amt, 0.0, 0.0))
                if len(rows) > _BOUNDS:
                    raise BadInput(f"ADDL = {addl} makes over {_BOUNDS:,} events for one patient", where=where)
    return pd.DataFrame(rows, columns=list(_FIELDS)), np.array(observed, dtype=int)


def _at_instant(time: float, instants: np.ndarray) -> float:
    """`time`, or the record's time that it misses by a rounding."""
    nearest = float(instants[np.abs(instants - time).argmin()])
    return nearest if abs(nearest - time) <= _SAME_INSTANT * max(abs(time), 1.0) else time


def _snap(time: float, times: np.ndarray) -> float:
    """The record's time, when the k-th multiple of II misses it by rounding alone (3 × 0.1 is not 0.3)."""
    nearest = times[np.abs(times - time).argmin()]
    return float(nearest) if abs(nearest - time) <= 1e-9 * max(abs(time), 1.0) else time


def _epoch_ends(records: pd.DataFrame) -> list[float]:
    """The last record time of each course: additional doses beyond it are never reached."""
    epoch = records["EVID"].isin((3, 4)).cumsum()
    ends = records["TIME"].groupby(epoch).max()
    return [float(ends.get(i, -np.inf)) for i in range(int(epoch.max()) + 1)]
