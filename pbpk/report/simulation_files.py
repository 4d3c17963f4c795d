"""The files of a simulation: one patient's table, or a population's bands, patients and curves; and the figures.

Several scenarios go into the same files, told apart by a first column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from pbpk.errors import MissingExtra
from pbpk.model.parameters import read_number
from pbpk.observe.readings import find_observable
from pbpk.population.bands import compute_medians, compute_quantiles, tabulate_bands
from pbpk.run_folders.claim import OutputFolder
from pbpk.run_folders.record import read_command_line, read_environment
from pbpk.units import unit_factor

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.population.simulate import Simulation

MOST_CURVES = 20_000_000  # rows of curves.parquet written unless asked for


class SolvedScenario(NamedTuple):
    """A simulation; `name` is "" where it is the only one, and otherwise its scenario's, with the `settings` of that."""

    name: str
    model: Model
    path: Simulation
    settings: Mapping[str, str] = MappingProxyType({})


def write_simulation(
    folder: OutputFolder, solved: Sequence[SolvedScenario], time: np.ndarray, keep: str, *, population: bool
) -> list[str]:
    """Write the files into `folder`, with `time` (T) in the unit to show; returns what was left out, and why.

    `keep`: "curves", "bands", or "auto", which keeps the curves unless they are huge.
    """
    folder.write("command.txt", read_command_line() + "\n")
    folder.write_json("run.json", {**_describe_run(solved), **read_environment()})
    left_out: list[str] = []
    if population:
        left_out += _write_population(folder, solved, time, keep)
    else:
        folder.write(
            "simulation.csv", _stack_tables(solved, lambda s: _tabulate_patient(s.path, time)).to_csv(index=False)
        )
    try:
        if population and not solved[0].name:
            _write_band_figures(folder, solved[0], time)
        else:
            _write_curves_figure(folder, solved, time, population)
    except MissingExtra as e:
        left_out.append(f"no figure: {e.what} ({e.hint})")
    return left_out


def _describe_run(solved: Sequence[SolvedScenario]) -> dict[str, Any]:
    units = {k: unit for s in solved for k, unit in s.path.unit.items()}
    first = solved[0]
    if not first.name:
        return {"model": first.model.name, "nuclide": first.model.nuclide, "units": units}
    scenarios = [{"name": s.name, "settings": dict(s.settings), "nuclide": s.model.nuclide} for s in solved]
    return {"model": first.model.name, "scenarios": scenarios, "units": units}


def _stack_tables(solved: Sequence[SolvedScenario], table: Callable[[SolvedScenario], pd.DataFrame]) -> pd.DataFrame:
    """The tables one below the other, with the scenario in front where it has a name."""
    tables = [table(s) for s in solved]
    for s, t in zip(solved, tables, strict=True):
        if s.name:
            t.insert(0, "scenario", s.name)
    return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)


def _tabulate_patient(path: Simulation, time: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"time": time} | {k: np.asarray(v)[:, 0] for k, v in _select_by_time(path).items()})
    for k, v in (path.to_infinity or {}).items():  # one number, on every line
        table[f"{k}_to_infinity"] = float(v[0])
    return table


def _write_population(folder: OutputFolder, solved: Sequence[SolvedScenario], time: np.ndarray, keep: str) -> list[str]:
    _stack_tables(solved, lambda s: tabulate_bands(s.path, time)).to_parquet(
        folder.partial / "bands.parquet", index=False
    )
    _stack_tables(solved, lambda s: _tabulate_patients(s.model, s.path)).to_parquet(
        folder.partial / "patients.parquet", index=False
    )
    rows = sum(len(s.path.patients) for s in solved) * len(time)
    if keep == "curves" or (keep == "auto" and rows <= MOST_CURVES):
        _stack_tables(solved, lambda s: _tabulate_curves(s.path, time)).to_parquet(
            folder.partial / "curves.parquet", index=False
        )
    elif keep == "auto":
        return [f"curves.parquet left out: {rows:,} rows (ask with --keep curves)"]
    return []


def _write_band_figures(folder: OutputFolder, only: SolvedScenario, time: np.ndarray) -> None:
    from pbpk.report.population_bands import draw_bands

    bands = tabulate_bands(only.path, time)
    for k, unit in only.path.unit.items():
        (folder.partial / f"{k.replace(':', '_')}.png").write_bytes(draw_bands(bands, k, unit, only.model.time_unit))


def _write_curves_figure(
    folder: OutputFolder, solved: Sequence[SolvedScenario], time: np.ndarray, population: bool
) -> None:
    from pbpk.report.curves import CurvesPanel, draw_curves

    shown = {
        s.name: compute_quantiles(s.path) if population else compute_medians(s.path, s.path.observables) for s in solved
    }
    panels = []
    for k in dict.fromkeys(k for s in solved for k in s.path.observables):
        having = [s for s in solved if k in s.path.observables]
        abouts = {_describe_observable(s, k) for s in having}
        about = abouts.pop() if len(abouts) == 1 else k
        panels.append(CurvesPanel(k, about, having[0].path.unit[k], {s.name: shown[s.name][k] for s in having}))
    scenarios = {s.name: s.settings for s in solved}
    title = ": ".join(filter(None, [_describe_varied(solved), "median and 90 % of patients" if population else ""]))
    figure = draw_curves(time, solved[0].model.time_unit, panels, scenarios, title)
    (folder.partial / "curves.png").write_bytes(figure)


def _describe_observable(s: SolvedScenario, name: str) -> str:
    """What an observable is about; of a run's observations, that they have residual error."""
    if name in s.path.observables and name.startswith("DV:"):
        return f"{name.removeprefix('DV:')} with residual error"
    return find_observable(s.model.system, name).about


def _describe_varied(solved: Sequence[SolvedScenario]) -> str:
    """`purity`, `CL (L/h)`: what is varied, with its unit where the values have none of their own; "" if it is several."""
    if len(solved[0].settings) != 1:
        return ""
    (name,) = solved[0].settings
    row = solved[0].model.parameters.get(name)
    bare = all(not read_number(s.settings[name])[1] for s in solved) if row else False
    return f"{name} ({row.unit})" if row and bare and row.unit != "1" else name.removeprefix("option.")


def _tabulate_curves(path: Simulation, time: np.ndarray) -> pd.DataFrame:
    ids = path.patients.ids
    return pd.DataFrame(
        {"patient": np.repeat(ids, len(time)), "time": np.tile(time, len(ids))}
        | {k: np.asarray(v).T.ravel() for k, v in _select_by_time(path).items()}
    )


def _select_by_time(path: Simulation) -> dict[str, jax.Array]:
    """What has a value at each time: the observables, and their integrals if they were asked for."""
    return path.observables | {f"{k}_integral": v for k, v in (path.integral or {}).items()}


def _tabulate_patients(model: Model, path: Simulation) -> pd.DataFrame:
    """One line per patient: how it was solved, covariates and drawn parameters in their own units, integrals to infinity."""
    patients, table = path.patients, model.parameters
    changed = [n for n, r in table.rows.items() if r.spread or r.effects or n in getattr(path, "varying", ())]
    values = {n: patients.values[model.system.parameter_index(n)] / unit_factor(table[n].unit) for n in changed}
    covariates = {n: patients.covariates[n].to_numpy() for n in patients.covariates}
    solved = {"patient": patients.ids, "result": np.asarray(path.result), "solved_again": path.solved_again}
    endless = {f"{k}_to_infinity": np.asarray(v) for k, v in (path.to_infinity or {}).items()}
    estimates = getattr(path, "estimates", None)
    of_run = {} if estimates is None else {f"estimate_{n}": estimates[n].to_numpy() for n in estimates}
    return pd.DataFrame(solved | covariates | values | endless | of_run)
