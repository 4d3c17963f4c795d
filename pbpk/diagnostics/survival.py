"""Times to an event by simulation: the study with event records on a grid, and Kaplan–Meier's estimate of a replicate.

The data's own records cannot be simulated at: they end where the event happened. So each subject is followed as long as the
data say that it could have been: to its censoring, or, where its event was seen, to the end of the longest follow-up.
Kaplan–Meier's estimate does not depend on when subjects are censored, only on that being independent of the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk import units as units_of
from pbpk.errors import BadInput
from pbpk.likelihood.endpoints.events import EventEndpoint

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

GRID_POINTS = 60  # times that a continuous follow-up is read at


@dataclass(frozen=True, eq=False)
class FollowUp:
    """A study in which events can be simulated. `problem` has an event record of each subject at each of its `record` times
    (n,), in h, of `subject` (n,), in the order of `order_observations`; `grid` (m,): where survival is read, h; `time` (N,), h,
    and `event` (N,): the first event observed, or censoring."""

    problem: Problem
    grid: np.ndarray
    record: np.ndarray
    subject: np.ndarray
    time: np.ndarray
    event: np.ndarray
    has_repeated_events: bool

    def find_first_events(self, simulated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each subject's first event or censoring: times and whether it is an event (R, N), from 0 or 1 at each record."""
        count = int(self.subject.max()) + 1
        starts = np.searchsorted(self.subject, np.arange(count))
        last = self.record[np.append(starts[1:], len(self.record)) - 1]
        when = np.where(simulated > 0.5, self.record, np.inf)
        soonest = np.minimum.reduceat(when, starts, axis=1)
        return np.minimum(soonest, last), np.isfinite(soonest)


def build_follow_up(study: Study, problem: Problem, name: str) -> FollowUp:
    """The follow-up of endpoint `name`, with records on a grid of times: those of the visits where events are noted at visits.

    Raises `BadInput` where a subject has no record of the endpoint, or its clock goes back, so that no grid can be laid.
    """
    from pbpk.study.load import replace_records

    frame = study.events.frame
    of_endpoint = frame[(frame["MDV"] == 0) & (frame["DVID"] == name)]
    endpoint = next(e for e in problem.structure.endpoints if e.name == name)
    by_subject = {subject: rows for subject, rows in of_endpoint.groupby("ID", sort=False)}
    if missing := [subject for subject in study.subjects if subject not in by_subject]:
        raise BadInput(
            f"ID {missing[0]} has no record of {name}, so it is not known how long it was followed",
            where=study.events.source,
            hint="give a record with DV = 0 at the end of its follow-up",
        )
    event_records = [rows[rows["DV"] > 0.5] for rows in by_subject.values()]
    event = np.array([len(events) > 0 for events in event_records])
    time = np.array(
        [
            events["TIME"].iloc[0] if len(events) else rows["TIME"].max()
            for events, rows in zip(event_records, by_subject.values(), strict=True)
        ]
    )
    longest = float(of_endpoint["TIME"].max())
    visits = (
        np.unique(of_endpoint["TIME"]) if isinstance(endpoint, EventEndpoint) and endpoint.interval else np.empty(0)
    )
    grid = visits if 0 < len(visits) <= 4 * GRID_POINTS else np.linspace(0, longest, GRID_POINTS + 1)[1:]
    until = np.where(event, longest, time)
    parts = [
        _add_grid_records(
            rows, np.union1d(grid[grid < end], [end]), name, study.events.source, study.spec.data.covariates_over_time
        )
        for (_, rows), end in zip(frame.groupby("ID", sort=False), until, strict=True)
    ]
    simulated_frame = pd.concat(parts, ignore_index=True)
    records = simulated_frame[simulated_frame["MDV"] == 0]
    numbered = {subject: i for i, subject in enumerate(study.subjects)}
    return FollowUp(
        replace_records(study, simulated_frame),
        grid,
        records["TIME"].to_numpy(dtype=float),
        records["ID"].map(numbered).to_numpy(dtype=int),
        time,
        event,
        has_repeated_events=any(len(events) > 1 for events in event_records),
    )


def _add_grid_records(records: pd.DataFrame, times: np.ndarray, name: str, source: str, between: str) -> pd.DataFrame:
    """A subject's records with nothing observed but the event, at `times` (h); covariates as they hold there, from the record
    before (locf) or after."""
    clock = records["TIME"].to_numpy(dtype=float)
    if (np.diff(clock) < 0).any():
        raise BadInput(
            f"the time of ID {records['ID'].iloc[0]} goes back at a reset",
            where=source,
            why=f"no Kaplan–Meier of {name}",
        )
    after = np.searchsorted(clock, times, side="right" if between == "locf" else "left")
    template = np.clip(after - (between == "locf"), 0, len(records) - 1)
    no_dose = {"EVID": 0, "AMT": 0.0, "RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "", "CENS": 0}
    added = records.iloc[template].assign(TIME=times, DV=0.0, MDV=0, DVID=name, LIMIT=np.nan, **no_dose)
    old = records.assign(MDV=1, DV=np.nan, CENS=0, LIMIT=np.nan)
    place = np.concatenate([np.arange(len(records)), np.searchsorted(clock, times, side="right") - 0.5])
    merged = pd.concat([old.astype(added.dtypes.to_dict()), added])
    return merged.iloc[np.argsort(place, kind="stable")]


def kaplan_meier(time: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Survival (m,) at the times `at`, from each subject's time (N,) and whether it was an event (N,).

    NaN after the last time, when nobody is at risk (Kaplan & Meier 1958, J Am Stat Assoc 53:457).
    """
    ordered = np.sort(time)
    when, died = np.unique(time[event], return_counts=True)
    risk = len(time) - np.searchsorted(ordered, when, side="left")
    steps = np.concatenate([[1.0], np.cumprod(1 - died / np.maximum(risk, 1))])
    survival = steps[np.searchsorted(when, at, side="right")]
    return np.where(at <= ordered[-1], survival, np.nan)


def hours_per_time_unit(study: Study) -> float:
    """How many hours one unit of the data's TIME is."""
    return units_of.unit_factor(study.spec.data.units.get("TIME", "h"))
