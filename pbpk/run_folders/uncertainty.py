"""`pbpk.bootstrap`, `pbpk.profile`, `pbpk.sir` and `pbpk.derived`: the uncertainty of a finished run's estimates.

Each reopens the run, called as `pbpk.compare` calls it or reopened before, builds its options, and returns the result.
Nothing is printed or written: the commands of the same names call these functions and write what they return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pbpk.uncertainty.bootstrap import BootstrapProgress, BootstrapResult
    from pbpk.uncertainty.derived import DerivedResult, QuantityDefinition
    from pbpk.uncertainty.finished_fit import FinishedFit
    from pbpk.uncertainty.profile import ProfileResult, ProfileSide
    from pbpk.uncertainty.sir import SirResult


def bootstrap(
    run: str | Path | FinishedFit,
    replicates: int = 500,
    *,
    kind: Literal["case", "parametric"] = "case",
    seed: int = 1,
    strata: str | None = None,
    bca: bool = False,
    level: float = 0.95,
    progress: BootstrapProgress | None = None,
) -> BootstrapResult:
    """Refits of subjects drawn with replacement (within the values of a column `strata`), or of studies simulated under the
    estimates. `.table` has a row for each replicate, `.summary` bias, SE and interval of each parameter.

    `progress` is told of each replicate as it comes, and brings those of an earlier, interrupted call. Raises `WrongUsage` and
    `BadInput` for what cannot be asked of the run, `ScienceFailed` where fewer than two replicates converge.
    """
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.bootstrap import BootstrapOptions
    from pbpk.uncertainty.bootstrap import run_bootstrap as bootstrap_fit

    options = BootstrapOptions(replicates, kind, seed, strata, bca, level)
    options.check()
    return bootstrap_fit(reopen_fit(run), options, progress)


def profile(
    run: str | Path | FinishedFit,
    parameters: Sequence[str] = (),
    *,
    level: float = 0.95,
    progress: Callable[[str, str, ProfileSide], None] = lambda name, end, side: None,
) -> ProfileResult:
    """Likelihood-profile intervals of the parameters named, or of all. `.table` has the ends, `.points` the profiles.

    `progress(name, end, side)` is called as each side of a profile is done. Raises `WrongUsage` and `BadInput` for what
    cannot be asked of the run.
    """
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.profile import ProfileOptions
    from pbpk.uncertainty.profile import profile_likelihood as profile_fit

    return profile_fit(reopen_fit(run), ProfileOptions(tuple(parameters), level), progress)


def sir(
    run: str | Path | FinishedFit,
    samples: Sequence[int] | None = None,
    resamples: Sequence[int] | None = None,
    *,
    seed: int = 1,
    cap: int = 1,
    inflation: float = 1.0,
    level: float = 0.95,
    progress: Callable[[int, int, int], None] = lambda iteration, done, of: None,
) -> SirResult:
    """Sampling importance resampling from the run's covariance; `samples` and `resamples` have a number for each iteration.

    `progress(iteration, done, of)` is called as evaluations come in. Raises `WrongUsage` for what cannot be asked,
    `BadInput` for a run without a covariance, `ScienceFailed` where too few vectors have a likelihood.
    """
    from pbpk.run_folders.reopen import reopen_fit
    from pbpk.uncertainty.sir import DEFAULT_RESAMPLES, DEFAULT_SAMPLES, SirOptions
    from pbpk.uncertainty.sir import run_sir as resample_fit

    options = SirOptions(
        tuple(samples or DEFAULT_SAMPLES), tuple(resamples or DEFAULT_RESAMPLES), seed, cap, inflation, level
    )
    return resample_fit(reopen_fit(run), options, progress)


def derived(
    run: str | Path,
    quantities: Mapping[str, QuantityDefinition],
    *,
    sample: str = "covariance",
    seed: int = 1,
    level: float = 0.95,
) -> DerivedResult:
    """Quantities of the estimates by name: `{"t_half": "log(2)*V/CL"}`, or a function of all parameters by name, each in the
    unit that the run shows it in. `sample`: covariance, bootstrap, sir, or the folder of one of these two.

    Raises `BadInput` for an expression that cannot be worked out, and for a run without the sample that is asked for.
    """
    from pbpk.run_folders.find import find_run
    from pbpk.run_folders.reopen import read_sample, reopen_fit
    from pbpk.uncertainty.derived import DerivedOptions, derive_quantities

    fit = reopen_fit(run)
    vectors = None if sample == "covariance" else read_sample(find_run(run), fit.names, sample)
    return derive_quantities(fit, DerivedOptions(quantities, seed, level), vectors)
