"""`pbpk.vpc` and `pbpk.npde`: a finished run judged by simulation, by its name or folder. Nothing is printed or written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pbpk.errors import BadInput
from pbpk.run_folders.find import find_run
from pbpk.run_folders.read import RunFiles, read_run

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import Fitted
    from pbpk.diagnostics.npde import Npde
    from pbpk.diagnostics.vpc import Vpc
    from pbpk.study.load import Study

DISCARDED = ("M1", "M2")


def _quiet(done: int, of: int) -> None:
    pass


def vpc(
    run: str | Path,
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
    progress: Callable[[int, int], None] = _quiet,
) -> Vpc:
    """A visual predictive check. `bins`: how many, or their edges in the data's unit of time. `.table` has observed statistics
    with the interval of the simulated ones, `.verdict` says how many lie inside."""
    from pbpk.diagnostics.options import Plan
    from pbpk.diagnostics.vpc import vpc as of

    edges = bins if bins is None or isinstance(bins, int) else tuple(float(b) for b in bins)
    levels = tuple(sorted(float(q) for q in quantiles))
    plan = Plan(
        *(replicates, edges, bin_method, by, prediction_corrected or variability_corrected, variability_corrected),
        *(levels, interval, endpoint, seed),
    )
    plan.check()
    return of(reopen_for_simulation(run), plan, progress)


def npde(
    run: str | Path,
    replicates: int = 1000,
    *,
    endpoint: str | None = None,
    seed: int = 1,
    progress: Callable[[int, int], None] = _quiet,
) -> Npde:
    """Normalised prediction distribution errors. `.table` has NPDE and NPD of each observation, `.tests` what they say."""
    from pbpk.diagnostics.npde import npde as of
    from pbpk.diagnostics.options import check_replicates

    check_replicates(replicates)
    return of(reopen_for_simulation(run), replicates, seed, endpoint, progress)


def reopen_for_simulation(run: str | Path) -> Fitted:
    """A run as its study, problem and estimates. One that did not converge is taken with a note: what it would give can be
    looked at. Raises `BadInput` for what is no finished run, `ScienceFailed` where it is not what it was."""
    from pbpk.diagnostics.fitted_model import check_unchanged, fitted
    from pbpk.diagnostics.observations import read_observations
    from pbpk.estimation.methods import get_method
    from pbpk.study.load import load_study

    folder = find_run(run)
    files = read_run(folder)
    if not files.record:
        raise BadInput(
            "holds no run.json, so it cannot be simulated again", where=str(folder), hint="fit the study again"
        )
    study, discarded = _censor_discarded(load_study(folder, solver=files.record.get("solver")), folder, files)
    if study.spec.summary:
        raise BadInput(
            "is a fit to published aggregates",
            where=str(folder),
            why="there are no observations of single patients to set simulated ones against",
        )
    estimates = {str(k): float(np.nan if v is None else v) for k, v in files.results["parameter_estimates"].items()}
    problem = study.problem
    if not set(problem.spec.layout.names) <= set(estimates):
        problem = get_method(str(files.results["method"])).prepare(problem)
    notes = [*discarded]
    if not files.results.get("minimization_successful"):
        notes.append(
            f"the run did not converge ({files.results.get('termination_cause')}): its estimates are no optimum"
        )
    fit = fitted(study, problem, estimates, tuple(notes))
    observed = read_observations(study, problem)
    kept = ~observed.table["BELOW"].to_numpy(dtype=bool)
    recorded, scale = files.table, observed.scale[kept]
    if "CENS" in recorded:
        recorded = recorded[recorded["CENS"] != 1]
    if problem.spec.classes == 1:  # a mixture's table is that of each subject's own class
        pred = recorded["PRED"].to_numpy(dtype=float)
        check_unchanged(fit, pred * scale if len(pred) == len(scale) else pred, kept, str(folder))
    return fit


def _censor_discarded(study: Study, folder: Path, run: RunFiles) -> tuple[Study, list[str]]:
    """The study with what M1 or M2 left out of the fit, as censored: a check that leaves it out would not see it amiss."""
    from dataclasses import replace

    from pbpk.study.load import load_study

    discarding = [n for n, part in study.spec.error.items() if part.blq in DISCARDED]
    name = str(run.results["study"])
    if not discarding:
        return replace(study, name=name), []
    censored = load_study(folder, settings={f"error.{n}.blq": "M3" for n in discarding}, solver=run.record.get("solver"))
    note = f"values of {', '.join(discarding)} below the limit, which the fit left out, are counted as censored here"
    return replace(censored, name=name), [note]
