"""Reopening: a finished run read back as what analyses start from: its problem, optimum, covariance and samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, ScienceFailed, require_type
from pbpk.run_folders.find import find_run
from pbpk.run_folders.read import RunFiles, read_run, read_table
from pbpk.run_folders.record import check_same_run, verify_inputs
from pbpk.run_folders.resumable import BOOTSTRAP_ROWS

if TYPE_CHECKING:
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.study.load import Study
    from pbpk.uncertainty.derived import ParameterSample
    from pbpk.uncertainty.finished_fit import FinishedFit

SAMPLE_FILES = {"bootstrap": BOOTSTRAP_ROWS, "sir": "sir.csv"}  # of a verb's folder: the parameter vectors
DISCARDED = ("M1", "M2")  # treatments of values below the limit that leave them out of the fit


def reopen_fit(run: str | Path | FinishedFit) -> FinishedFit:
    """A finished run by its folder, `STUDY/NUMBER`, or a study's latest; what was reopened before is returned.

    Raises `BadInput` for what is no finished run, `ScienceFailed` for one that is not minimised.
    """
    from dataclasses import replace

    from pbpk.estimation.methods import get_method
    from pbpk.run_folders.checkpoint import load_state
    from pbpk.run_folders.claim import OutputFolder
    from pbpk.study.load import load_study
    from pbpk.uncertainty.finished_fit import build_finished_fit

    if not isinstance(run, str | Path):
        require_reopened(run)
        return run
    folder = find_run(run)
    files = read_run(folder)
    results, record = files.results, files.record
    if not results.get("minimization_successful"):
        raise ScienceFailed(
            f"the run is not minimised ({results.get('termination_cause') or 'cause not recorded'})",
            where=str(folder),
            why="what is asked of its minimum has no meaning at a point that is none",
        )
    saved = load_state(OutputFolder(folder, folder)) if record else None
    if saved is None:
        raise BadInput(
            "holds no run.json or no checkpoint.npz, so its optimum is not known exactly",
            where=str(folder),
            hint="fit the study again",
        )
    method = get_method(str(results["method"]))
    verify_inputs(folder, record)
    study = replace(load_study(folder, solver=record.get("solver")), name=str(results["study"]))
    method = method.configure(study.spec.estimation, record.get("seed", 1))
    fit = build_finished_fit(study, method, saved[0], matrix=str(results.get("standard_errors_matrix", "")))
    return replace(fit, covariance=_coherent_covariance(files.covariance, fit.names, fit.scale))


def require_reopened(run: object) -> None:
    """Raise `WrongUsage` for what is no run that was opened before: neither a fit nor a study with its estimates."""
    from pbpk.diagnostics.fitted_model import FittedStudy
    from pbpk.uncertainty.finished_fit import FinishedFit

    require_type(run, (FinishedFit, FittedStudy), "a run", "give its folder, STUDY/NUMBER or its study's name")


def _coherent_covariance(table: pd.DataFrame, names: tuple[str, ...], scale: np.ndarray) -> np.ndarray | None:
    """The covariance (P, P) of the free natural parameters, in coherent units; None where the fit has none."""
    if not set(names) <= set(table.index) or not set(names) <= set(table.columns):
        return None
    shown = table.loc[list(names), list(names)].to_numpy(dtype=float)
    return shown * np.outer(scale, scale) if np.isfinite(shown).all() else None


def reopen_for_simulation(run: str | Path | FittedStudy) -> FittedStudy:
    """A finished run as its study, problem and estimates, for checks by simulation; what was reopened before is returned.

    A run that did not converge is taken with a note: what it would give can be looked at. Raises `BadInput` for what is no
    finished run, `ScienceFailed` where the model no longer gives the predictions that the run recorded.
    """
    from pbpk.diagnostics.fitted_model import build_fitted_study, check_predictions_unchanged
    from pbpk.diagnostics.observations import read_observations
    from pbpk.estimation.methods import get_method
    from pbpk.study.load import load_study

    if not isinstance(run, str | Path):
        require_reopened(run)
        return run
    folder = find_run(run)
    files = read_run(folder)
    if not files.record:
        raise BadInput(
            "holds no run.json, so it cannot be simulated again", where=str(folder), hint="fit the study again"
        )
    verify_inputs(folder, files.record)
    study, discarded = _censor_discarded(load_study(folder, solver=files.record.get("solver")), folder, files)
    if study.spec.summary:
        raise BadInput(
            "is a fit to published aggregates",
            where=str(folder),
            why="there are no observations of single patients to set simulated ones against",
        )
    estimates = {str(k): float(np.nan if v is None else v) for k, v in files.results["parameter_estimates"].items()}
    problem = study.problem
    if not set(problem.structure.layout.names) <= set(estimates):
        problem = get_method(str(files.results["method"])).prepare(problem)
    notes = [*discarded]
    if not files.results.get("minimization_successful"):
        notes.append(
            f"the run did not converge ({files.results.get('termination_cause')}): its estimates are no optimum"
        )
    fit = build_fitted_study(study, problem, estimates, tuple(notes))
    observed = read_observations(study, problem)
    kept = ~observed.table["BELOW"].to_numpy(dtype=bool)
    recorded, scale = files.table, observed.scale[kept]
    if "CENS" in recorded:
        recorded = recorded[recorded["CENS"] != 1]
    if problem.structure.classes == 1:  # a mixture's table is that of each subject's own class
        pred = recorded["PRED"].to_numpy(dtype=float)
        check_predictions_unchanged(fit, pred * scale if len(pred) == len(scale) else pred, kept, str(folder))
    return fit


def _censor_discarded(study: Study, folder: Path, run: RunFiles) -> tuple[Study, list[str]]:
    """The study with what M1 or M2 left out of the fit counted as censored, and a note on that where there is any.

    A check that leaves those values out as well could not show that the model fails to predict them.
    """
    from dataclasses import replace

    from pbpk.study.load import load_study

    discarding = [n for n, part in study.spec.error.items() if part.blq in DISCARDED]
    name = str(run.results["study"])
    if not discarding:
        return replace(study, name=name), []
    censored = load_study(
        folder, settings={f"error.{n}.blq": "M3" for n in discarding}, solver=run.record.get("solver")
    )
    note = f"values of {', '.join(discarding)} below the limit, which the fit left out, are counted as censored here"
    return replace(censored, name=name), [note]


def read_sample(run: Path, names: tuple[str, ...], source: str) -> ParameterSample:
    """The parameter vectors that a bootstrap or SIR of the run kept. `source`: bootstrap or sir (the latest), or a folder.

    Raises `BadInput` where there is none, or where it was made from another run.
    """
    from pbpk.uncertainty.derived import ParameterSample

    if source in SAMPLE_FILES:
        folders = sorted(p for p in (run / source).glob("[0-9]*") if p.is_dir() and not p.name.endswith(".partial"))
        if not folders:
            raise BadInput(f"has no finished {source}", where=str(run), hint=f"make one:  pbpk {source} {run}")
        folder = folders[-1]
    else:
        folder = Path(source)
    file = next((f for name in SAMPLE_FILES.values() if (f := folder / name).is_file()), None)
    if file is None:
        raise BadInput(
            "holds no bootstrap.csv or sir.csv", where=str(folder), hint="bootstrap, sir, or one of their folders"
        )
    check_same_run(folder, run)
    table = read_table(file, names)
    if file.name == BOOTSTRAP_ROWS:
        table = pd.read_csv(file, dtype={"converged": str})
        table = table[table["converged"].str.lower() == "true"]
    values = table[list(names)].to_numpy(dtype=float)
    return ParameterSample(values, f"{len(values)} vectors of {file.parent.parent.name} {file.parent.name}")
