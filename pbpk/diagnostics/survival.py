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
from pbpk.study.load import Study, replace_records

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

GRID_POINTS = 60  # of the grid


@dataclass(frozen=True, eq=False)
class FollowUp:
    """`problem` has an event record of each subject at each of its `record` times (n,), in h, of `subject` (n,), in the order
    of `simulate.order`; `grid` (m,): where survival is read, h; `time` and `event` (N,): the first event seen, or censoring."""

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
    """Raises `BadInput` where a subject's clock goes back, so that no grid can be laid."""
    frame = study.events.frame
    own = frame[(frame["MDV"] == 0) & (frame["DVID"] == name)]
    endpoint = next(e for e in problem.structure.endpoints if e.name == name)
    by_subject = {who: g for who, g in own.groupby("ID", sort=False)}
    if missing := [who for who in study.subjects if who not in by_subject]:
        raise BadInput(
            f"ID {missing[0]} has no record of {name}, so it is not known how long it was followed",
            where=study.events.source,
            hint="give a record with DV = 0 at the end of its follow-up",
        )
    seen = [g[g["DV"] > 0.5] for g in by_subject.values()]
    event = np.array([len(s) > 0 for s in seen])
    time = np.array(
        [s["TIME"].iloc[0] if len(s) else g["TIME"].max() for s, g in zip(seen, by_subject.values(), strict=True)]
    )
    longest = float(own["TIME"].max())
    visits = np.unique(own["TIME"]) if isinstance(endpoint, EventEndpoint) and endpoint.interval else np.empty(0)
    grid = visits if 0 < len(visits) <= 4 * GRID_POINTS else np.linspace(0, longest, GRID_POINTS + 1)[1:]
    until = np.where(event, longest, time)
    parts = [
        _add_grid_records(
            g, np.union1d(grid[grid < end], [end]), name, study.events.source, study.spec.data.covariates_over_time
        )
        for (_, g), end in zip(frame.groupby("ID", sort=False), until, strict=True)
    ]
    laid = pd.concat(parts, ignore_index=True)
    records = laid[laid["MDV"] == 0]
    numbered = {who: i for i, who in enumerate(study.subjects)}
    return FollowUp(
        replace_records(study, laid),
        grid,
        records["TIME"].to_numpy(dtype=float),
        records["ID"].map(numbered).to_numpy(dtype=int),
        time,
        event,
        has_repeated_events=any(len(s) > 1 for s in seen),
    )


def _add_grid_records(g: pd.DataFrame, times: np.ndarray, name: str, source: str, between: str) -> pd.DataFrame:
    """A subject's records with nothing observed but the event, at `times`; covariates as they hold there."""
    clock = g["TIME"].to_numpy(dtype=float)
    if (np.diff(clock) < 0).any():
        raise BadInput(
            f"the time of ID {g['ID'].iloc[0]} goes back at a reset", where=source, why=f"no Kaplan–Meier of {name}"
        )
    after = np.searchsorted(clock, times, side="right" if between == "locf" else "left")
    like = np.clip(after - (between == "locf"), 0, len(g) - 1)
    nothing = {"EVID": 0, "AMT": 0.0, "RATE": 0.0, "DUR": 0.0, "ADDL": 0, "II": 0.0, "SS": 0, "CMT": "", "CENS": 0}
    added = g.iloc[like].assign(TIME=times, DV=0.0, MDV=0, DVID=name, LIMIT=np.nan, **nothing)
    old = g.assign(MDV=1, DV=np.nan, CENS=0, LIMIT=np.nan)
    place = np.concatenate([np.arange(len(g)), np.searchsorted(clock, times, side="right") - 0.5])
    both = pd.concat([old.astype(added.dtypes.to_dict()), added])
    return both.iloc[np.argsort(place, kind="stable")]


def kaplan_meier(time: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Survival (m,) at `at` from times and events (N,); NaN after the last time when nobody is at risk."""
    ordered = np.sort(time)
    when, died = np.unique(time[event], return_counts=True)
    risk = len(time) - np.searchsorted(ordered, when, side="left")
    steps = np.concatenate([[1.0], np.cumprod(1 - died / np.maximum(risk, 1))])
    found = steps[np.searchsorted(when, at, side="right")]
    return np.where(at <= ordered[-1], found, np.nan)


def hours_per_time_unit(study: Study) -> float:
    return units_of.unit_factor(study.spec.data.units.get("TIME", "h"))
