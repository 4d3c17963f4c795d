"""Options of a design, read and checked against the study: samples, times, windows, arms, subjects, a prior."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pbpk import units
from pbpk.errors import BadInput, WrongUsage, did_you_mean
from pbpk.optimal_design.sampling_space import SamplingSpace, TimeWindow, spread_candidates

if TYPE_CHECKING:
    from pbpk.optimal_design.records import SubjectProfile
    from pbpk.study.load import Study


def select_observables(study: Study, names: Sequence[str] | None) -> tuple[str, ...]:
    """The observables whose samples are to be placed. Raises `BadInput` for one that the study does not observe, `WrongUsage`
    where it observes several and none is named."""
    known = [e.name for e in study.problem.structure.endpoints]
    for name in names or ():
        if name not in known:
            raise BadInput(f"`{name}` has no error model in this study", hint=did_you_mean(name, known))
    if not names and len(known) > 1:
        raise WrongUsage(
            "this study observes several things; which samples are to be placed?",
            hint="--observable " + " or ".join(known) + " (several, with commas, are taken at the same times)",
        )
    return tuple(names or known)


def list_study_times(
    study: Study, profiles: Sequence[SubjectProfile], arms: str | None, observables: Sequence[str]
) -> dict[str, list[np.ndarray]]:
    """By arm, the sampling times (h) of `observables` that each subject of the data has."""
    frame = study.events.frame
    observed = frame[(frame["MDV"] == 0) & frame["DVID"].isin(observables)]
    by_arm: dict[str, list[np.ndarray]] = {p.arm: [] for p in profiles}
    for _, records in frame.groupby("ID", sort=False):
        arm = "all" if arms is None else f"{records[arms].iloc[0]:g}"
        times = observed.loc[observed.index.intersection(records.index), "TIME"].to_numpy()
        by_arm[arm].append(np.sort(times) if len(observables) == 1 else np.unique(times))
    return by_arm


def build_space(
    study: Study,
    study_times: Mapping[str, list[np.ndarray]],
    observables: Sequence[str],
    samples: int | Mapping[str, int] | None,
    times: np.ndarray | None,
    windows: Sequence[TimeWindow] | None,
    spacing: float,
) -> SamplingSpace:
    """Where samples may be: at candidate `times` (h, sorted) or in `windows` (h), else in the data's TMIN and TMAX.

    Without `samples` each subject has as many as there are windows, or as `study_times` has for its arm. Raises `WrongUsage`
    and `BadInput` for what does not go together.
    """
    _check_placement(study_times, samples, times, windows, spacing)
    windows_by_arm: dict[str, tuple[TimeWindow, ...]] = {}
    for arm, arm_times in study_times.items():
        count = samples.get(arm) if isinstance(samples, Mapping) else samples
        windows_by_arm[arm] = _choose_windows(study, arm, arm_times, observables, count, times, windows)
    if times is not None:
        candidates = {arm: np.asarray(times, float) for arm in study_times}
    else:
        candidates = {
            arm: np.unique(np.concatenate([spread_candidates(w) for w in dict.fromkeys(arm_windows)]))
            for arm, arm_windows in windows_by_arm.items()
        }
    return SamplingSpace(candidates, windows_by_arm, spacing, times is not None)


def _check_placement(
    arms: Collection[str],
    samples: int | Mapping[str, int] | None,
    times: np.ndarray | None,
    windows: Sequence[TimeWindow] | None,
    spacing: float,
) -> None:
    if times is not None and windows:
        raise WrongUsage("candidate times and windows exclude one another", hint="give --times or --window")
    if spacing < 0 or not np.isfinite(spacing):
        raise WrongUsage(f"a spacing of {spacing:g} h means nothing")
    for low, high in windows or ():
        if not (0 <= low < high and np.isfinite(high)):
            raise BadInput(
                f"the window {low:g} to {high:g} h is none", hint="two times in h, the earlier first: 0.5:48"
            )
    if isinstance(samples, Mapping):
        for arm in samples:
            if arm not in arms:
                raise BadInput(f"no arm `{arm}`", hint=did_you_mean(arm, arms))


def _choose_windows(
    study: Study,
    arm: str,
    arm_times: list[np.ndarray],
    observables: Sequence[str],
    count: int | None,
    times: np.ndarray | None,
    windows: Sequence[TimeWindow] | None,
) -> tuple[TimeWindow, ...]:
    """One window (h) for each of an arm's samples."""
    stated = list(windows) if windows else None if times is not None else _read_windows(study, observables)
    if stated is None and times is None:
        raise WrongUsage("where may the samples be?", hint="--times 0.5:48:0.5, or --window 0.5:48")
    if count is None:
        count = len(stated) if stated and len(stated) > 1 else _count_study_samples(arm, arm_times)
    if count < 1:
        raise WrongUsage(f"{count} samples tell nothing")
    if times is not None:
        stated = [(float(times.min()), float(times.max()))]
    assert stated is not None
    if len(stated) not in (1, count):
        raise WrongUsage(
            f"{len(stated)} windows for {count} samples", hint="one window for all, or one for each sample"
        )
    return tuple(stated * count if len(stated) == 1 else stated)


def _count_study_samples(arm: str, times_by_subject: list[np.ndarray]) -> int:
    """How many samples each subject of an arm has. Raises `WrongUsage` where they differ in that, or have none."""
    counts = {len(t) for t in times_by_subject}
    if len(counts) != 1 or counts == {0}:
        raise WrongUsage(
            f"how many samples for each subject{'' if arm == 'all' else f' of arm {arm}'}?", hint="--samples 3"
        )
    return counts.pop()


def _read_windows(study: Study, observables: Sequence[str]) -> list[TimeWindow] | None:
    """The columns TMIN and TMAX of the first subject's samples, in the unit of TIME, as NONMEM's $DESIGN reads them; in h."""
    frame = study.events.frame
    if not {"TMIN", "TMAX"} <= set(frame.columns):
        return None
    data_units = study.spec.data.units
    factor = 1.0 if "TMIN" in data_units else units.require_dimension(data_units.get("TIME", "h"), "h", "TIME")
    first = frame[(frame["ID"] == frame["ID"].iloc[0]) & (frame["MDV"] == 0) & frame["DVID"].isin(observables)]
    windows = [(float(a) * factor, float(b) * factor) for a, b in zip(first["TMIN"], first["TMAX"], strict=True)]
    for low, high in windows:
        if not 0 <= low < high:
            raise BadInput(f"TMIN {low:g} and TMAX {high:g} are no window", where=study.events.source)
    for t, (low, high), row in zip(first["TIME"], windows, first.index, strict=True):
        if not low <= t <= high:
            message = f"the sample at {t:g} h lies outside its window, {low:g} to {high:g} h"
            raise BadInput(message, where=f"{study.events.source}: row {row}", hint="mend TIME, TMIN or TMAX")
    return windows or None


def scale_counts(
    profiles: Sequence[SubjectProfile], subjects: float | Mapping[str, float] | None
) -> tuple[SubjectProfile, ...]:
    """The same profiles in other numbers: `subjects` in all, in proportion, or by arm. Raises `BadInput` for an unknown arm,
    `WrongUsage` for a number that is not above zero."""
    if subjects is None:
        return tuple(profiles)
    arms = {p.arm: sum(x.count for x in profiles if x.arm == p.arm) for p in profiles}
    if isinstance(subjects, Mapping):
        for arm in subjects:
            if arm not in arms:
                raise BadInput(f"no arm `{arm}`", hint=did_you_mean(arm, arms))
        goals = {arm: float(subjects.get(arm, now)) for arm, now in arms.items()}
    else:
        goals = {arm: subjects * now / sum(arms.values()) for arm, now in arms.items()}
    if not all(np.isfinite(n) and n > 0 for n in goals.values()):
        raise WrongUsage("the number of subjects must be above zero")
    return tuple(replace(p, count=p.count * goals[p.arm] / arms[p.arm]) for p in profiles)


def draw_from_prior(
    study: Study, names: Sequence[str], prior: Mapping[str, tuple[float, bool]], draws: int, seed: int
) -> np.ndarray:
    """(D, P) draws of ψ: `prior` gives a standard deviation by name, relative (log-normal) or absolute (normal).

    A scrambled Sobol' sequence (Owen 1998) covers the prior more evenly than as many random draws. Raises `BadInput` for a
    parameter that is not estimated, or a prior that reaches where it cannot be.
    """
    from scipy.stats import norm, qmc

    layout = study.problem.structure.layout
    natural = np.asarray(study.problem.initial, float)
    for name in prior:
        if name not in names:
            raise BadInput(f"`{name}` is none of the parameters estimated", hint=did_you_mean(name, names))
    sobol = qmc.Sobol(len(prior), seed=np.random.default_rng(seed))
    z = norm.ppf(np.clip(sobol.random_base2(max(int(np.ceil(np.log2(draws))), 0))[:draws], 1e-6, 1 - 1e-6))
    vectors = []
    for row in z:
        drawn = natural.copy()
        for (name, (size, is_relative)), x in zip(prior.items(), row, strict=True):
            i = list(layout.names).index(name)
            if is_relative:
                drawn[i] *= np.exp(np.sqrt(np.log1p(size**2)) * x)
            else:
                drawn[i] += size * np.asarray(study.scale)[i] * x
        vectors.append(layout.to_unconstrained(drawn))
    if not np.isfinite(vectors).all():
        raise BadInput("the prior reaches values that a parameter cannot have", hint="give its spread in percent")
    return np.array(vectors)
