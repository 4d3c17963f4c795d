"""A design as records: how each kind of subject is dosed, and rows for the samples that may be taken.

Subjects with the same doses, covariates and fixed samples are one profile with a count; profiles that follow one schedule
are an arm. Sample rows are put between the records there are, so that doses, resets and covariates stay what they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.errors import BadInput

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem
    from pbpk.study.load import Study

_DOSE_COLUMNS = ("AMT", "RATE", "DUR", "ADDL", "II", "SS")  # zero in the row of a sample
_CANDIDATE_COLUMN = "@LOOK"  # a name that no column of data has


@dataclass(frozen=True, eq=False)
class SubjectProfile:
    """`frame`: the records of one of `count` subjects (in coherent units) that follow arm `arm`'s schedule."""

    frame: pd.DataFrame
    count: float
    arm: str


@dataclass(frozen=True, eq=False)
class CandidateSamples:
    """A problem that holds every candidate row. `candidate_rows` (N, K, O): the row in T of each observable at each of an arm's
    K times; `fixed_rows` (N, F): the samples that stay; −1 where there is none. `profiles` are the N lanes."""

    problem: Problem
    candidate_rows: np.ndarray
    fixed_rows: np.ndarray
    profiles: tuple[SubjectProfile, ...]

    @property
    def counts(self) -> np.ndarray:
        """How many subjects each profile stands for (N,)."""
        return np.array([p.count for p in self.profiles])

    def select_rows(self, arm: str, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
        """(N of the arm, R): the rows of its profiles when the times `chosen` are taken."""
        lanes = self.find_lanes(arm)
        sampled = self.candidate_rows[lanes][:, np.asarray(chosen, int)].reshape(len(lanes), -1)
        return np.concatenate([sampled, self.fixed_rows[lanes]], axis=1)

    def find_lanes(self, arm: str) -> np.ndarray:
        """The positions of an arm's profiles."""
        return np.flatnonzero([p.arm == arm for p in self.profiles])


def group_profiles(study: Study, arms: str | None, replaced: Sequence[str]) -> tuple[SubjectProfile, ...]:
    """The study's distinct subjects, the samples of the observables `replaced` left out; `arms` is a column of the data.

    Raises `BadInput` for a column that is not there or changes within a subject.
    """
    frame = study.events.frame
    if arms is not None and arms not in study.events.covariates:
        known = ", ".join(study.events.covariates) or "none"
        raise BadInput(f"the data have no column `{arms}` to tell arms by", hint=f"columns beside the records: {known}")
    is_replaced = (frame["MDV"] == 0) & frame["DVID"].isin(replaced)
    profiles: dict[str, SubjectProfile] = {}
    for subject, records in frame[~is_replaced].groupby("ID", sort=False):
        arm = "all"
        if arms is not None:
            if records[arms].nunique() != 1:
                raise BadInput(
                    f"`{arms}` changes within subject {subject}, so it cannot tell arms", where=study.events.source
                )
            arm = f"{records[arms].iloc[0]:g}"
        key = arm + records.drop(columns=["ID", "DV"]).to_csv(index=False)
        count = profiles[key].count + 1 if key in profiles else 1
        profiles[key] = SubjectProfile(records.reset_index(drop=True), count, arm)
    return tuple(profiles.values())


def build_candidates(
    study: Study, profiles: Sequence[SubjectProfile], times: Mapping[str, np.ndarray], observables: Sequence[str]
) -> CandidateSamples:
    """Every profile with rows for `observables` at each of its arm's `times` (h)."""
    from pbpk.study.load import replace_records

    from_next = study.spec.data.covariates_over_time == "nocb"
    frames = [
        _add_candidate_rows(p, i, times.get(p.arm, np.zeros(0)), observables, from_next) for i, p in enumerate(profiles)
    ]
    marks = [f.loc[f["MDV"] == 0, _CANDIDATE_COLUMN].to_numpy() for f in frames]
    most_times = max((len(t) for t in times.values()), default=0)
    most_fixed = max(int((m < 0).sum()) for m in marks)
    candidate_rows = np.full((len(profiles), most_times * len(observables)), -1)
    fixed_rows = np.full((len(profiles), most_fixed), -1)
    for i, m in enumerate(marks):
        candidate_rows[i, m[m >= 0]] = np.flatnonzero(m >= 0)
        fixed_rows[i, : (m < 0).sum()] = np.flatnonzero(m < 0)
    candidate_rows = candidate_rows.reshape(len(profiles), most_times, max(len(observables), 1))
    problem = replace_records(study, pd.concat(frames, ignore_index=True).drop(columns=_CANDIDATE_COLUMN))
    return CandidateSamples(problem, candidate_rows, fixed_rows, tuple(profiles))


def repeat_profiles(profiles: Sequence[SubjectProfile], copies: int) -> tuple[SubjectProfile, ...]:
    """Each profile `copies` times over, for simulation; together they stand for as many subjects as before."""
    return tuple(replace(p, count=p.count / copies) for p in profiles for _ in range(copies))


def _add_candidate_rows(
    profile: SubjectProfile, number: int, times: np.ndarray, observables: Sequence[str], from_next: bool
) -> pd.DataFrame:
    """A profile's records with a row for each observable at each time, numbered in `_CANDIDATE_COLUMN` (−1: the study's own).

    `from_next`: covariates hold from the next record backwards (nocb), not from the last one on. Raises `BadInput` where the
    subject's clock starts anew.
    """
    records = profile.frame.assign(**{_CANDIDATE_COLUMN: -1, "ID": str(number + 1)})
    if not len(times) or not observables:
        return records
    clock = records["TIME"].to_numpy()
    if (np.diff(clock) < 0).any():
        raise BadInput(
            f"the clock of subject {profile.frame['ID'].iloc[0]} starts anew, so a sample's time does not say when it is",
            hint="write the candidate samples into the data and evaluate them, or use one clock",
        )
    place = np.searchsorted(clock, times, side="right")
    # Under nocb the next record's covariates hold at a new row too, under locf the last one's: so a sample changes nothing.
    beside = np.minimum(place, len(records) - 1) if from_next else np.maximum(place - 1, 0)
    count = len(observables)
    new = records.iloc[np.repeat(beside, count)].copy()
    new[list(_DOSE_COLUMNS)] = 0
    new = new.assign(TIME=np.repeat(times, count), EVID=0, CMT="", DV=0.0, MDV=0)
    new["DVID"] = list(observables) * len(times)
    new[_CANDIDATE_COLUMN] = np.arange(len(new))
    # By place among the records first, so that records keep their order; then by time, then by number.
    order = np.lexsort(
        (
            np.concatenate([np.full(len(records), -1), np.arange(len(new))]),
            np.concatenate([clock, np.repeat(times, count)]),
            np.concatenate([np.arange(len(records)), np.repeat(place, count) - 0.5]),
        )
    )
    return pd.concat([records, new], ignore_index=True).astype(records.dtypes.to_dict()).iloc[order]
