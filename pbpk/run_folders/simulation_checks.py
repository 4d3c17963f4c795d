"""`pbpk.vpc` and `pbpk.npde`: a finished run checked by simulation.

Each reopens the run, called as `pbpk.compare` calls it or reopened before, builds its options, and returns the result.
Nothing is printed or written: the commands of the same names call these functions and write what they return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.diagnostics.npde import NpdeResult
    from pbpk.diagnostics.options import VpcOptions
    from pbpk.diagnostics.vpc import VpcResult


def _ignore_progress(done: int, of: int) -> None:
    pass


def vpc(
    run: str | Path | FittedStudy,
    replicates: int = 1000,
    *,
    bins: int | Sequence[float] | None = None,
    bin_method: str = "jenks",
    by: str | None = None,
    prediction_corrected: bool = False,
    variability_corrected: bool = False,
    quantiles: Sequence[float] = (5.0, 50.0, 95.0),
    interval: float = 90.0,
    endpoint: str | None = None,
    seed: int = 1,
    progress: Callable[[int, int], None] = _ignore_progress,
) -> VpcResult:
    """A visual predictive check. `bins`: how many, or their edges in the data's unit of time. `.table` has observed statistics
    with the interval of the simulated ones, `.verdict` says how many lie inside.

    `progress(done, of)` is called as replicates come. Raises `WrongUsage` for options that no VPC can be made with.
    """
    from pbpk.diagnostics.vpc import run_vpc as check_fit
    from pbpk.run_folders.reopen import reopen_for_simulation

    options = make_vpc_options(
        replicates,
        bins=bins,
        bin_method=bin_method,
        by=by,
        prediction_corrected=prediction_corrected,
        variability_corrected=variability_corrected,
        quantiles=quantiles,
        interval=interval,
        endpoint=endpoint,
        seed=seed,
    )
    return check_fit(reopen_for_simulation(run), options, progress)


def make_vpc_options(
    replicates: int = 1000,
    *,
    bins: int | Sequence[float] | None = None,
    bin_method: str = "jenks",
    by: str | None = None,
    prediction_corrected: bool = False,
    variability_corrected: bool = False,
    quantiles: Sequence[float] = (5.0, 50.0, 95.0),
    interval: float = 90.0,
    endpoint: str | None = None,
    seed: int = 1,
) -> VpcOptions:
    """The options of `vpc` from its keywords, checked. A variability correction implies the prediction correction.

    Raises `WrongUsage` for options that no VPC can be made with.
    """
    from pbpk.diagnostics.options import VpcOptions

    options = VpcOptions(
        replicates=replicates,
        bins=bins if bins is None or isinstance(bins, int) else tuple(float(b) for b in bins),
        method=bin_method,
        by=by,
        corrected=prediction_corrected or variability_corrected,
        variability=variability_corrected,
        quantiles=tuple(sorted(float(q) for q in quantiles)),
        interval=interval,
        endpoint=endpoint,
        seed=seed,
    )
    options.check()
    return options


def npde(
    run: str | Path | FittedStudy,
    replicates: int = 1000,
    *,
    endpoint: str | None = None,
    seed: int = 1,
    progress: Callable[[int, int], None] = _ignore_progress,
) -> NpdeResult:
    """Normalised prediction distribution errors. `.table` has NPDE and NPD of each observation, `.tests` what they say.

    `progress(done, of)` is called as replicates come. Raises `WrongUsage` for too few replicates.
    """
    from pbpk.diagnostics.npde import compute_npde as check_fit
    from pbpk.diagnostics.options import NpdeOptions
    from pbpk.run_folders.reopen import reopen_for_simulation

    options = NpdeOptions(replicates, endpoint, seed)
    options.check()
    return check_fit(reopen_for_simulation(run), options, progress)
