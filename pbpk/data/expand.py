"""Repeated doses spelt out: ADDL and II become dose rows of their own.

The table that comes out means the same as the one that went in. That is a property to test an engine with, and it is
what a simulator without ADDL needs.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pbpk.data.events import EventTable

# Sums such as 0.1 + 2 * 0.1 miss the 0.3 of the file by a rounding; such a dose belongs to that record's instant.
_SAME_INSTANT = 1e-9


def expand_addl(table: EventTable, covariates_over_time: Literal["nocb", "locf"] = "nocb") -> EventTable:
    """The same events with ADDL 0 everywhere; II stays only where SS needs it.

    A dose implied by ADDL comes before the file's own records at its time, is never steady-state, and is cancelled by a
    reset (EVID 3 or 4) or a steady state that replaces (SS 1) of its subject at or before its time. It carries the row
    number of the dose it repeats, and the covariates in force at its time, so that they change where they changed before:
    those of the next record ("nocb", NONMEM's rule) or of the last ("locf").
    """
    frame = table.frame
    reset = frame["EVID"].isin([3, 4]) | (frame["EVID"].isin([1, 4]) & (frame["SS"] == 1))
    course = ((frame["ID"] != frame["ID"].shift()) | reset).cumsum().to_numpy()
    parts = [part for _, part in frame.groupby(course, sort=True)]
    ends = [_find_end(part, after) for part, after in zip(parts, [*parts[1:], None], strict=True)]
    carried = [*table.covariates, *table.overrides]
    expanded = pd.concat(
        [_expand_course(part, end, carried, covariates_over_time) for part, end in zip(parts, ends, strict=True)]
    )
    return dataclasses.replace(table, frame=expanded)


def _find_end(part: pd.DataFrame, after: pd.DataFrame | None) -> float:
    """The time before which a pending dose of this course still comes; a reset that follows cancels the others."""
    if after is None or after["ID"].iloc[0] != part["ID"].iloc[0]:
        return np.inf
    reset, last = after["TIME"].iloc[0], part["TIME"].iloc[-1]
    # A clock that starts anew at the reset says nothing about the old one, which then runs up to its last record.
    return reset - _rounding_slack(reset) if reset >= last else last + _rounding_slack(last)


def _expand_course(part: pd.DataFrame, end: float, carried: list[str], between: str) -> pd.DataFrame:
    recorded = part.assign(ADDL=0, II=part["II"].where(part["SS"] > 0, 0.0))
    further = part["ADDL"].to_numpy()
    if not further.any():
        return recorded
    implied = part.iloc[np.repeat(np.arange(len(part)), further)]
    step = np.concatenate([np.arange(1, n + 1) for n in further])
    records = part["TIME"].to_numpy()
    time = _snap_to_records(implied["TIME"].to_numpy() + step * implied["II"].to_numpy(), records)
    implied = implied.assign(TIME=time, EVID=1, ADDL=0, II=0.0, SS=0, DV=np.nan, MDV=1, DVID="")
    after = np.searchsorted(records, time, side="left")
    in_force = np.minimum(after, len(records) - 1) if between == "nocb" else after - 1
    implied = implied.assign(**{name: part[name].to_numpy()[in_force] for name in carried})
    # Stable, with the implied rows first: this is what puts them before the file's own records of the same time.
    return pd.concat([implied[time < end], recorded]).sort_values("TIME", kind="stable")


def _rounding_slack(time):
    return _SAME_INSTANT * np.maximum(1.0, np.abs(time))


def _snap_to_records(times: np.ndarray, records: np.ndarray) -> np.ndarray:
    """`times`, each moved onto the record within rounding of it. `records` do not go back."""
    right = np.searchsorted(records, times).clip(1, len(records) - 1) if len(records) > 1 else np.zeros(len(times), int)
    left = np.maximum(right - 1, 0)
    nearest = np.where(times - records[left] < records[right] - times, records[left], records[right])
    return np.where(np.abs(nearest - times) <= _rounding_slack(times), nearest, times)
