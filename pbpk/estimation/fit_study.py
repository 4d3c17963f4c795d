"""`pbpk.fit`: a study by name or folder, fitted by one call of the library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pbpk.estimation.methods import METHODS, get_method
from pbpk.estimation.result import Fit

if TYPE_CHECKING:
    from pbpk.compile.engine import Engine


def fit_study(
    study: str | Path,
    *,
    method: str | None = None,
    settings: Mapping[str, str] | None = None,
    solver: str | None = None,
    engine: Engine | None = None,
    seed: int | None = None,
    start: Fit | str | Path | None = None,
    starts: int | None = None,
    evaluate: bool = False,
) -> Fit:
    """Fit a study by name or folder and return the result; nothing is printed or written.

    `method` is one of `METHODS` (default: the study's own), `settings` override initial values or entries of fit.toml.
    `start`: a fit, or a run's folder, whose estimates are the initial values where the names match. `starts`: how many
    starts to search from (multistart.py). `evaluate`: the objective at the initial values alone; nothing is estimated.
    `engine`: what computes (docs/kernels.md).
    Raises `BadInput` for the study, `ScienceFailed` when the objective is not finite at the start; a fit that does not
    converge is returned with `successful` False.

    >>> fit = pbpk.fit("theophylline")
    >>> round(fit.ofv, 3), fit.successful
    (116.803, True)
    """
    from pbpk.compile.engine import using_engine
    from pbpk.estimation.multistart import run_multistart
    from pbpk.estimation.run import run_fit
    from pbpk.estimation.start import read_starting_values, take_starting_values
    from pbpk.study.load import load_study

    with using_engine(engine):
        loaded_study = load_study(study, settings=settings, solver=solver)
        estimation_method = get_method(method or loaded_study.spec.estimation.method)
        seed = loaded_study.spec.estimation.seed if seed is None else seed
        starting_values = None
        if start is not None:
            starting_values = take_starting_values(start) if isinstance(start, Fit) else read_starting_values(start)
        if starts:
            return run_multistart(loaded_study, estimation_method, starts, seed=seed, start=starting_values)
        return run_fit(loaded_study, estimation_method, seed=seed, start=starting_values, evaluate=evaluate)


setattr(fit_study, "METHODS", METHODS)  # noqa: B010 - `pbpk.fit.METHODS` is what scripts read
