"""A design as records: who is dosed how, and rows for the samples that may be taken.

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
from pbpk.study.load import Study, replace_records

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_DOSE_COLUMNS = ("AMT", "RATE", "DUR", "ADDL", "II", "SS")
_CANDIDATE_COLUMN = "@LOOK"


@dataclass(frozen=True, eq=False)
class SubjectProfile:
    """`frame`: the records of one of `count` subjects (in coherent units) that follow arm `arm`'s schedule."""

    frame: pd.DataFrame
    count: float
    arm: str


@dataclass(frozen=True, eq=False)
class CandidateSamples:
    """A problem that holds every candidate row. `looks` (N, K, O): the row in T of each observable at each of an arm's K times;
    `fixed` (N, F): the samples that stay; −1 where there is none. `profiles` are the N lanes."""

    problem: Problem
    candidate_rows: np.ndarray
    fixed_rows: np.ndarray
    profiles: tuple[SubjectProfile, ...]

    @property
    def counts(self) -> np.ndarray:
        return np.array([p.count for p in self.profiles])

    def select_rows(self, arm: str, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
        """(N of the arm, R): the rows of its profiles when the times `chosen` are taken."""
        own = self.find_lanes(arm)
        taken = self.candidate_rows[own][:, np.asarray(chosen, int)].reshape(len(own), -1)
        return np.concatenate([taken, self.fixed_rows[own]], axis=1)

    def find_lanes(self, arm: str) -> np.ndarray:
        return np.flatnonzero([p.arm == arm for p in self.profiles])


def group_profiles(study: Study, arms: str | None, replaced: Sequence[str]) -> tuple[SubjectProfile, ...]:
    """The study's distinct subjects, the samples of the observables `replaced` left out; `arms` is a column of the data."""
    frame = study.events.frame
    if arms is not None and arms not in study.events.covariates:
        known = ", ".join(study.events.covariates) or "none"
        raise BadInput(f"the data have no column `{arms}` to tell arms by", hint=f"columns beside the records: {known}")
    goes = (frame["MDV"] == 0) & frame["DVID"].isin(replaced)
    found: dict[str, SubjectProfile] = {}
    for who, own in frame[~goes].groupby("ID", sort=False):
        arm = "all"
        if arms is not None:
            if own[arms].nunique() != 1:
                raise BadInput(
                    f"`{arms}` changes within subject {who}, so it cannot tell arms", where=study.events.source
                )
            arm = f"{own[arms].iloc[0]:g}"
        key = arm + own.drop(columns=["ID", "DV"]).to_csv(index=False)
        count = found[key].count + 1 if key in found else 1
        found[key] = SubjectProfile(own.reset_index(drop=True), count, arm)
    return tuple(found.values())


def build_candidates(
    study: Study, people: Sequence[SubjectProfile], times: Mapping[str, np.ndarray], observables: Sequence[str]
) -> CandidateSamples:
    """Every profile with rows for `observables` at each of its arm's `times` (h)."""
    later = study.spec.data.covariates_over_time == "nocb"
    frames = [_add_candidate_rows(p, i, times.get(p.arm, np.zeros(0)), observables, later) for i, p in enumerate(people)]
    marks = [f.loc[f["MDV"] == 0, _CANDIDATE_COLUMN].to_numpy() for f in frames]
    most = max((len(t) for t in times.values()), default=0)
    stay = max(int((m < 0).sum()) for m in marks)
    looks = np.full((len(people), most * len(observables)), -1)
    fixed = np.full((len(people), stay), -1)
    for i, m in enumerate(marks):
        looks[i, m[m >= 0]] = np.flatnonzero(m >= 0)
        fixed[i, : (m < 0).sum()] = np.flatnonzero(m < 0)
    problem = replace_records(study, pd.concat(frames, ignore_index=True).drop(columns=_CANDIDATE_COLUMN))
    return CandidateSamples(problem, looks.reshape(len(people), most, max(len(observables), 1)), fixed, tuple(people))


def repeat_profiles(people: Sequence[SubjectProfile], times: int) -> tuple[SubjectProfile, ...]:
    """Each profile `times` times over, for simulation."""
    return tuple(replace(p, count=p.count / times) for p in people for _ in range(times))


def _add_candidate_rows(p: SubjectProfile, number: int, times: np.ndarray, observables: Sequence[str], later: bool) -> pd.DataFrame:
    own = p.frame.assign(**{_CANDIDATE_COLUMN: -1, "ID": str(number + 1)})
    if not len(times) or not observables:
        return own
    clock = own["TIME"].to_numpy()
    if (np.diff(clock) < 0).any():
        raise BadInput(
            f"the clock of subject {p.frame['ID'].iloc[0]} starts anew, so a sample's time does not say when it is",
            hint="write the candidate samples into the data and evaluate them, or use one clock",
        )
    place = np.searchsorted(clock, times, side="right")
    # Under nocb the next record's covariates hold at a new row too, under locf the last one's: nothing changes by looking.
    beside = np.minimum(place, len(own) - 1) if later else np.maximum(place - 1, 0)
    count = len(observables)
    new = own.iloc[np.repeat(beside, count)].copy()
    new[list(_DOSE_COLUMNS)] = 0
    new = new.assign(TIME=np.repeat(times, count), EVID=0, CMT="", DV=0.0, MDV=0)
    new["DVID"] = list(observables) * len(times)
    new[_CANDIDATE_COLUMN] = np.arange(len(new))
    order = np.lexsort(
        (
            np.concatenate([np.full(len(own), -1), np.arange(len(new))]),
            np.concatenate([clock, np.repeat(times, count)]),
            np.concatenate([np.arange(len(own)), np.repeat(place, count) - 0.5]),
        )
    )
    return pd.concat([own, new], ignore_index=True).astype(own.dtypes.to_dict()).iloc[order]
