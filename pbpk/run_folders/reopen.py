"""A finished run read back as what further questions start from: its problem, its optimum, its covariance, its samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pbpk.errors import BadInput, ScienceFailed
from pbpk.run_folders.find import find_run
from pbpk.run_folders.read import read_json_object, read_run, read_table

if TYPE_CHECKING:
    from pbpk.uncertainty.derived import Sample
    from pbpk.uncertainty.finished_fit import Finished

SAMPLE_FILES = {"bootstrap": "bootstrap.csv", "sir": "sir.csv"}


def reopen_fit(run: str | Path) -> Finished:
    """A run by its folder, `STUDY/NUMBER`, or a study's latest. Raises `BadInput` for what is no finished run,
    `ScienceFailed` for one that is not minimised."""
    from dataclasses import replace

    from pbpk.estimation.methods import get_method
    from pbpk.run_folders.write import OutputFolder, load_state
    from pbpk.study.load import load_study
    from pbpk.uncertainty.finished_fit import finished

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
    study = replace(load_study(folder, solver=record.get("solver")), name=str(results["study"]))
    if configured := getattr(method, "configured", None):
        method = configured(study.spec.estimation, record.get("seed", 1))
    fit = finished(study, method, saved[0], matrix=str(results.get("standard_errors_matrix", "")))
    return replace(fit, covariance=_coherent_covariance(files.covariance, fit.names, fit.scale))


def _coherent_covariance(table: pd.DataFrame, names: tuple[str, ...], scale: np.ndarray) -> np.ndarray | None:
    """Of the free natural parameters, coherent; None where the fit has none."""
    if not set(names) <= set(table.index) or not set(names) <= set(table.columns):
        return None
    shown = table.loc[list(names), list(names)].to_numpy(dtype=float)
    return shown * np.outer(scale, scale) if np.isfinite(shown).all() else None


def read_sample(run: Path, names: tuple[str, ...], source: str) -> Sample:
    """The parameter vectors that the run's latest finished bootstrap or SIR kept. `source`: bootstrap, sir, or a folder."""
    from pbpk.uncertainty.derived import Sample

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
    if file.name == "bootstrap.csv":
        table = pd.read_csv(file, dtype={"converged": str})
        table = table[table["converged"].str.lower() == "true"]
    values = table[list(names)].to_numpy(dtype=float)
    return Sample(values, f"{len(values)} vectors of {file.parent.parent.name} {file.parent.name}")


def check_same_run(folder: Path, run: Path) -> None:
    """Raises `BadInput` where what is in `folder` was not made from this run as it is."""
    record = read_json_object(folder / "run.json") if (folder / "run.json").is_file() else {}
    if record.get("of") != identify_run(run):
        hint = f"it was made from {record['run']}" if record.get("run") else ""
        raise BadInput(f"is not of {run} as it is now", where=str(folder), hint=hint)


def identify_run(run: Path) -> dict[str, str]:
    """What tells a run from another: when it was started, and the hash of its results."""
    from hashlib import sha256

    started = json.loads((run / "run.json").read_text()).get("started", "") if (run / "run.json").is_file() else ""
    return {"started": str(started), "sha256": sha256((run / "results.json").read_bytes()).hexdigest()}
