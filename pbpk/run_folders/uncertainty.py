"""`pbpk.bootstrap`, `pbpk.profile`, `pbpk.sir` and `pbpk.derived`: the library's own on a run by its name or folder.

Each returns its result; nothing is printed or written. A run is called as `pbpk.compare` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pbpk.uncertainty.bootstrap import Bootstrap
    from pbpk.uncertainty.derived import Derived, Quantity
    from pbpk.uncertainty.profile import Profile
    from pbpk.uncertainty.sir import Sir


def bootstrap(
    run: str | Path,
    replicates: int = 500,
    *,
    kind: Literal["case", "parametric"] = "case",
    seed: int = 1,
    strata: str | None = None,
    bca: bool = False,
    level: float = 0.95,
) -> Bootstrap:
    """Refits of subjects drawn with replacement (within the values of a column `strata`), or of studies simulated under the
    estimates. `.table` has a row for each replicate, `.summary` bias, SE and interval of each parameter."""
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.bootstrap import Plan
    from pbpk.uncertainty.bootstrap import bootstrap as of

    plan = Plan(replicates, kind, seed, strata, bca, level)
    plan.check()
    return of(reopen_fit(run), plan)


def profile(run: str | Path, parameters: Sequence[str] = (), *, level: float = 0.95) -> Profile:
    """Likelihood-profile intervals of the parameters named, or of all. `.table` has the ends, `.points` the profiles."""
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.profile import profile as of

    return of(reopen_fit(run), parameters, level)


def sir(
    run: str | Path,
    samples: Sequence[int] | None = None,
    resamples: Sequence[int] | None = None,
    *,
    seed: int = 1,
    cap: int = 1,
    inflation: float = 1.0,
    level: float = 0.95,
) -> Sir:
    """Sampling importance resampling from the run's covariance; `samples` and `resamples` have a number for each iteration."""
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.sir import RESAMPLES, SAMPLES, Plan
    from pbpk.uncertainty.sir import sir as of

    plan = Plan(tuple(samples or SAMPLES), tuple(resamples or RESAMPLES), seed, cap, inflation, level)
    return of(reopen_fit(run), plan)


def derived(
    run: str | Path,
    quantities: Mapping[str, Quantity],
    *,
    sample: str = "covariance",
    seed: int = 1,
    level: float = 0.95,
) -> Derived:
    """Quantities of the estimates by name: `{"t_half": "log(2)*V/CL"}`, or a function of all parameters by name, each in the
    unit that the run shows it in. `sample`: covariance, bootstrap, sir, or the folder of one of these two."""
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import reopen_fit, read_sample
    from pbpk.uncertainty.derived import derived as of

    fit = reopen_fit(run)
    drawn = None if sample == "covariance" else read_sample(find_run(run), fit.names, sample)
    return of(fit, quantities, drawn, seed, level)
