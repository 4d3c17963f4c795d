"""What is asked of a design, read and checked: samples, times, windows, arms, subjects, a prior, wanted errors and powers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pbpk import units
from pbpk.errors import BadInput, WrongUsage, did_you_mean
from pbpk.optimal_design.sampling_space import SamplingSpace, TimeWindow, spread_candidates

if TYPE_CHECKING:
    from pbpk.optimal_design.records import SubjectProfile
    from pbpk.study.load import Study


def select_observables(study: Study, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Those whose samples are to be placed. Raises where the study observes several and none is named."""
    known = [e.name for e in study.problem.structure.endpoints]
    for name in asked or ():
        if name not in known:
            raise BadInput(f"`{name}` has no error model in this study", hint=did_you_mean(name, known))
    if not asked and len(known) > 1:
        raise WrongUsage(
            "this study observes several things; which samples are to be placed?",
            hint="--observable " + " or ".join(known) + " (several, with commas, are taken at the same times)",
        )
    return tuple(asked or known)


def list_study_times(study: Study, people: Sequence[SubjectProfile], arms: str | None, observables: Sequence[str]) -> dict:
    """By arm, each subject's own sampling times (h) of `observables`, as a list of arrays."""
    frame = study.events.frame
    seen = frame[(frame["MDV"] == 0) & frame["DVID"].isin(observables)]
    found: dict[str, list[np.ndarray]] = {p.arm: [] for p in people}
    for _, own in frame.groupby("ID", sort=False):
        arm = "all" if arms is None else f"{own[arms].iloc[0]:g}"
        mine = seen.loc[seen.index.intersection(own.index), "TIME"].to_numpy()
        found[arm].append(np.sort(mine) if len(observables) == 1 else np.unique(mine))
    return found


def build_space(
    study: Study,
    own: Mapping[str, list[np.ndarray]],
    observables: Sequence[str],
    samples: int | Mapping[str, int] | None,
    times: np.ndarray | None,
    windows: Sequence[TimeWindow] | None,
    spacing: float,
) -> SamplingSpace:
    """From what was given, else the data's TMIN and TMAX, else the study's own number of samples."""
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
            if arm not in own:
                raise BadInput(f"no arm `{arm}`", hint=did_you_mean(arm, own))
    chosen: dict[str, tuple[TimeWindow, ...]] = {}
    for arm, mine in own.items():
        count = samples.get(arm) if isinstance(samples, Mapping) else samples
        said = list(windows) if windows else None if times is not None else _read_windows(study, observables)
        if said is None and times is None:
            raise WrongUsage("where may the samples be?", hint="--times 0.5:48:0.5, or --window 0.5:48")
        if count is None:
            count = len(said) if said and len(said) > 1 else _count_study_samples(arm, mine)
        if count < 1:
            raise WrongUsage(f"{count} samples tell nothing")
        if times is not None:
            said = [(float(times.min()), float(times.max()))]
        assert said is not None
        if len(said) not in (1, count):
            raise WrongUsage(
                f"{len(said)} windows for {count} samples", hint="one window for all, or one for each sample"
            )
        chosen[arm] = tuple(said * count if len(said) == 1 else said)
    if times is not None:
        grid = {arm: np.asarray(times, float) for arm in own}
    else:
        grid = {arm: np.unique(np.concatenate([spread_candidates(w) for w in dict.fromkeys(ws)])) for arm, ws in chosen.items()}
    return SamplingSpace(grid, chosen, spacing, times is not None)


def _count_study_samples(arm: str, mine: list[np.ndarray]) -> int:
    counts = {len(t) for t in mine}
    if len(counts) != 1 or counts == {0}:
        raise WrongUsage(
            f"how many samples for each subject{'' if arm == 'all' else f' of arm {arm}'}?", hint="--samples 3"
        )
    return counts.pop()


def _read_windows(study: Study, observables: Sequence[str]) -> list[TimeWindow] | None:
    """The columns TMIN and TMAX of the first subject's samples, in the unit of TIME, as NONMEM's $DESIGN reads them."""
    frame = study.events.frame
    if not {"TMIN", "TMAX"} <= set(frame.columns):
        return None
    given = study.spec.data.units
    factor = 1.0 if "TMIN" in given else units.require_dimension(given.get("TIME", "h"), "h", "TIME")
    first = frame[(frame["ID"] == frame["ID"].iloc[0]) & (frame["MDV"] == 0) & frame["DVID"].isin(observables)]
    found = [(float(a) * factor, float(b) * factor) for a, b in zip(first["TMIN"], first["TMAX"], strict=True)]
    for low, high in found:
        if not 0 <= low < high:
            raise BadInput(f"TMIN {low:g} and TMAX {high:g} are no window", where=study.events.source)
    for t, (low, high), row in zip(first["TIME"], found, first.index, strict=True):
        if not low <= t <= high:
            what = f"the sample at {t:g} h lies outside its window, {low:g} to {high:g} h"
            raise BadInput(what, where=f"{study.events.source}: row {row}", hint="mend TIME, TMIN or TMAX")
    return found or None


def scale_counts(people: Sequence[SubjectProfile], subjects: float | Mapping[str, float] | None) -> tuple[SubjectProfile, ...]:
    """The same people in other numbers: of all, in proportion, or by arm."""
    if subjects is None:
        return tuple(people)
    arms = {p.arm: sum(x.count for x in people if x.arm == p.arm) for p in people}
    if isinstance(subjects, Mapping):
        for arm in subjects:
            if arm not in arms:
                raise BadInput(f"no arm `{arm}`", hint=did_you_mean(arm, arms))
        wanted = {arm: float(subjects.get(arm, now)) for arm, now in arms.items()}
    else:
        wanted = {arm: subjects * now / sum(arms.values()) for arm, now in arms.items()}
    if not all(np.isfinite(n) and n > 0 for n in wanted.values()):
        raise WrongUsage("the number of subjects must be above zero")
    return tuple(replace(p, count=p.count * wanted[p.arm] / arms[p.arm]) for p in people)


def draw_from_prior(
    study: Study, names: Sequence[str], prior: Mapping[str, tuple[float, bool]], draws: int, seed: int
) -> np.ndarray:
    """(D, P) draws of ψ: `prior` gives a standard deviation by name, relative (log-normal) or absolute (normal).

    A scrambled Sobol' sequence (Owen 1998) covers the prior more evenly than as many random draws.
    """
    from scipy.stats import norm, qmc

    layout = study.problem.structure.layout
    natural = np.asarray(study.problem.initial, float)
    for name in prior:
        if name not in names:
            raise BadInput(f"`{name}` is none of the parameters estimated", hint=did_you_mean(name, names))
    sobol = qmc.Sobol(len(prior), seed=np.random.default_rng(seed))
    z = norm.ppf(np.clip(sobol.random_base2(max(int(np.ceil(np.log2(draws))), 0))[:draws], 1e-6, 1 - 1e-6))
    found = []
    for row in z:
        here = natural.copy()
        for (name, (size, relative)), x in zip(prior.items(), row, strict=True):
            i = list(layout.names).index(name)
            if relative:
                here[i] *= np.exp(np.sqrt(np.log1p(size**2)) * x)
            else:
                here[i] += size * np.asarray(study.scale)[i] * x
        found.append(layout.to_unconstrained(here))
    if not np.isfinite(found).all():
        raise BadInput("the prior reaches values that a parameter cannot have", hint="give its spread in percent")
    return np.array(found)
