"""The files of a simulation: one patient's table, or a population's bands, patients, curves and figures."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd

from pbpk.errors import MissingExtra
from pbpk.model.load import Model
from pbpk.population.bands import bands
from pbpk.population.simulate import Path
from pbpk.report.writing import Folder, command_line, environment
from pbpk.units import factor

MOST_CURVES = 20_000_000  # rows of curves.parquet written unless asked for


def write_simulation(
    folder: Folder, model: Model, path: Path, time: np.ndarray, keep: str, *, population: bool
) -> list[str]:
    """Write the files into `folder`, with `time` (T) in the unit to show; returns what was left out, and why.

    `keep`: "curves", "bands", or "auto", which keeps the curves unless they are huge.
    """
    folder.write("command.txt", command_line() + "\n")
    folder.write_json("run.json", {"model": model.name, "nuclide": model.nuclide, "units": path.unit, **environment()})
    if not population:
        table = pd.DataFrame({"time": time} | {k: np.asarray(v)[:, 0] for k, v in _by_time(path).items()})
        for k, v in (path.to_infinity or {}).items():  # one number, on every line
            table[f"{k}_to_infinity"] = float(v[0])
        folder.write("simulation.csv", table.to_csv(index=False))
        return []
    left_out = []
    found = bands(path, time)
    found.to_parquet(folder.partial / "bands.parquet", index=False)
    _patients(model, path).to_parquet(folder.partial / "patients.parquet", index=False)
    rows = len(path.patients) * len(time)
    if keep == "curves" or (keep == "auto" and rows <= MOST_CURVES):
        _curves(path, time).to_parquet(folder.partial / "curves.parquet", index=False)
    elif keep == "auto":
        left_out.append(f"curves.parquet left out: {rows:,} rows (ask with --keep curves)")
    try:
        from pbpk.report.quantiles import quantile_figure

        for k in path.observables:
            (folder.partial / f"{k}.png").write_bytes(quantile_figure(found, k, path.unit[k], model.time_unit))
    except MissingExtra as e:
        left_out.append(f"no figure: {e.what} ({e.hint})")
    return left_out


def _curves(path: Path, time: np.ndarray) -> pd.DataFrame:
    ids = path.patients.ids
    return pd.DataFrame(
        {"patient": np.repeat(ids, len(time)), "time": np.tile(time, len(ids))}
        | {k: np.asarray(v).T.ravel() for k, v in _by_time(path).items()}
    )


def _by_time(path: Path) -> dict[str, jax.Array]:
    """What has a value at each time: the observables, and their integrals if they were asked for."""
    return path.observables | {f"{k}_integral": v for k, v in (path.integral or {}).items()}


def _patients(model: Model, path: Path) -> pd.DataFrame:
    """One line per patient: how it was solved, covariates and drawn parameters in their own units, integrals to infinity."""
    who, table = path.patients, model.parameters
    changed = [n for n, r in table.rows.items() if r.spread or r.effects]
    values = {n: who.values[model.system.parameter_index(n)] / factor(table[n].unit) for n in changed}
    covariates = {n: who.covariates[n].to_numpy() for n in who.covariates}
    solved = {"patient": who.ids, "result": np.asarray(path.result), "solved_again": path.solved_again}
    endless = {f"{k}_to_infinity": np.asarray(v) for k, v in (path.to_infinity or {}).items()}
    return pd.DataFrame(solved | covariates | values | endless)
